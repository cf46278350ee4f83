"""Errors as they were seen: with a code, with a type only, with words only."""

import pytest

from wire.errors import already_active, benign, fatal, permanent
from wire.realtime import Error

FATAL = [
    Error("invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-…"),
    Error("invalid_request_error", "", "Incorrect API key provided: sk-…"),
    Error(
        "invalid_request_error", "beta_api_shape_disabled", "The Realtime Beta API is no longer supported."
    ),
    Error(
        "invalid_request_error", "", "The Realtime Beta API is no longer supported. Please use /v1/realtime."
    ),
    Error("insufficient_quota", "", "You have run out."),
    Error(
        "insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan."
    ),
    Error("", "", "You exceeded your current quota, please check your plan and billing details."),
    Error("invalid_request_error", "credit_balance_exhausted", ""),
    Error("billing_hard_limit_reached", "", "Billing hard limit has been reached"),
    Error("invalid_request_error", "account_deactivated", ""),
]
TOO_OLD = [
    Error("invalid_request_error", "session_expired", ""),
    Error("session_expired", "", ""),
    Error("", "", "Your session hit the maximum duration of 60 minutes."),
    Error("", "", "Your Session Hit the Maximum Duration of 60 minutes."),
]
BENIGN = [
    Error(
        "invalid_request_error",
        "response_cancel_not_active",
        "Cancellation failed: no active response found.",
    ),
    Error("invalid_request_error", "", "Cancellation failed: no active response found."),
    Error("invalid_request_error", "", "Audio content of 3700ms is already shorter than 3760ms"),
    Error("invalid_request_error", "item_truncate_invalid_item_id", ""),
    Error("invalid_request_error", "item_delete_invalid_item_id", ""),
    Error("invalid_request_error", "item_retrieve_invalid_item_id", ""),
    Error("invalid_request_error", "item_already_truncated", ""),
    Error("invalid_request_error", "item_create_duplicate_item_id", ""),
    Error("invalid_request_error", "input_audio_buffer_commit_empty", "buffer too small"),
    Error("response_cancel_not_active", "", ""),
]
ALREADY_ACTIVE = [
    Error("invalid_request_error", "conversation_already_has_active_response", ""),
    Error("invalid_request_error", "", "Conversation already has an active response in progress: resp_1."),
]
WORTH_ANOTHER_TRY = [
    Error("rate_limit_exceeded", "rate_limit_exceeded", "Rate limit reached for gpt-realtime-2.1."),
    Error("", "inference_rate_limit_exceeded", ""),
    Error("server_error", "", "The server had an error while processing your request. Sorry about that!"),
    Error("", "", ""),
]
BUGS = [
    Error("invalid_request_error", "unknown_parameter", "Unknown parameter: 'session.voice'."),
    Error(
        "invalid_request_error", "item_create_invalid_previous_item_id", "The previous item does not exist."
    ),
    Error("invalid_request_error", "cannot_update_voice", ""),
    Error("invalid_request_error", "invalid_value", "Audio content of an item must be base64."),
]


@pytest.mark.parametrize("error", FATAL, ids=str)
def test_what_no_session_would_get_over_is_fatal_and_permanent(error: Error) -> None:
    assert (fatal(error), benign(error), already_active(error)) == (True, False, False)
    assert permanent(error)


@pytest.mark.parametrize("error", TOO_OLD, ids=str)
def test_a_session_that_is_too_old_ends_and_another_is_as_good_as_ever(error: Error) -> None:
    assert (fatal(error), benign(error), already_active(error)) == (True, False, False)
    assert not permanent(error)


@pytest.mark.parametrize("error", BENIGN, ids=str)
def test_a_lost_race_is_benign_by_code_by_type_and_by_message(error: Error) -> None:
    """protocol-gotchas 13, and openai-realtime 9.2"""
    assert (fatal(error), benign(error), already_active(error)) == (False, True, False)


@pytest.mark.parametrize("error", ALREADY_ACTIVE, ids=str)
def test_a_response_asked_for_too_early_is_known_as_such(error: Error) -> None:
    """protocol-gotchas 20"""
    assert (fatal(error), benign(error), already_active(error)) == (False, False, True)


@pytest.mark.parametrize("error", WORTH_ANOTHER_TRY + BUGS, ids=str)
def test_every_other_error_is_none_of_these(error: Error) -> None:
    assert (fatal(error), benign(error), already_active(error)) == (False, False, False)


@pytest.mark.parametrize("error", BENIGN + ALREADY_ACTIVE + WORTH_ANOTHER_TRY + BUGS, ids=str)
def test_what_does_not_end_a_session_is_not_permanent(error: Error) -> None:
    assert not permanent(error)
