from wire.vad_watchdog import DEAF_MS, SwitchToServerVad, VadWatchdog

FRAMES = DEAF_MS // 20


def listen(watchdog: VadWatchdog, frames: int, loud: bool = True, playing: bool = False) -> list[bool]:
    return [watchdog.caller_audio(loud, 20, playing) is not None for _ in range(frames)]


def test_15_seconds_of_a_voice_that_is_never_heard_switch_to_server_vad() -> None:
    """protocol-gotchas 16"""
    watchdog = VadWatchdog()
    assert not any(listen(watchdog, FRAMES - 1))
    assert watchdog.caller_audio(True, 20, False) == SwitchToServerVad()


def test_it_switches_once() -> None:
    watchdog = VadWatchdog()
    assert listen(watchdog, 3 * FRAMES).count(True) == 1
    assert not watchdog.watching


def test_silence_proves_nothing() -> None:
    assert not any(listen(VadWatchdog(), 10 * FRAMES, loud=False))


def test_pauses_do_not_make_it_forget() -> None:
    watchdog = VadWatchdog()
    for _ in range(FRAMES - 1):
        assert not any(listen(watchdog, 1) + listen(watchdog, 2, loud=False))
    assert listen(watchdog, 1) == [True]


def test_what_may_be_echo_does_not_count() -> None:
    watchdog = VadWatchdog()
    assert not any(listen(watchdog, 5 * FRAMES, playing=True))
    assert listen(watchdog, FRAMES)[-1]


def test_a_caller_who_is_heard_is_not_counted() -> None:
    watchdog = VadWatchdog()
    listen(watchdog, FRAMES - 1)
    watchdog.speech_started()
    assert not any(listen(watchdog, 2 * FRAMES))
    watchdog.speech_stopped()
    assert not any(listen(watchdog, FRAMES - 1))


def test_it_is_seen_that_the_detection_went_deaf_later() -> None:
    watchdog = VadWatchdog()
    watchdog.speech_started()
    watchdog.speech_stopped()
    assert any(listen(watchdog, FRAMES))
