"""The scripts' arithmetic, run where they run: in a browser."""

import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from flask import Flask
from playwright.sync_api import Page, Playwright
from werkzeug.serving import make_server

from config import Settings
from tests.browser.browser import browsing
from tests.conftest import ExpectedLogs
from web import security
from web.pages import Pages
from wire import g711

pytestmark = pytest.mark.slow


@pytest.fixture
def page(playwright: Playwright, logs: ExpectedLogs) -> Iterator[Page]:
    """A page that may load the scripts, and can `use` one."""
    logs.expect("signatures are not checked")
    app = Flask("scripts", static_folder=None)
    Pages(security.register(app, Settings(openai_api_key="sk-test"))).register(app)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="serve", daemon=True)
    thread.start()
    with browsing(playwright) as opened:
        opened.goto(f"http://127.0.0.1:{server.server_port}/sign-in")
        yield opened
    server.shutdown()
    thread.join(5)
    server.server_close()


def run(page: Page, module: str, body: str, argument: object = None) -> Any:
    """What the function body returns, in which `use` has what the module exports."""
    script = f"async (given) => {{ const use = await import('/static/x/{module}.js'); {body} }}"
    return page.evaluate(script, argument)


def test_mu_law_is_that_of_the_server_for_every_sample_and_byte(page: Page) -> None:
    encoded = run(page, "mulaw", "return Array.from({ length: 65536 }, (_, i) => use.encode(i - 32768));")
    every = np.arange(-32768, 32768).astype("<i2").tobytes()
    assert bytes(encoded) == g711.encode_ulaw(every)
    decoded = run(page, "mulaw", "return Array.from({ length: 256 }, (_, byte) => use.decode(byte));")
    assert np.array(decoded).astype("<i2").tobytes() == g711.decode_ulaw(bytes(range(256)))


RATES = [
    (44100, 8000),
    (48000, 8000),
    (96000, 8000),
    (16000, 8000),
    (8000, 8000),
    (8000, 48000),
    (8000, 44100),
]

RESAMPLE = """
const resampler = new use.Resampler(given.from, given.to);
const output = [];
for (let start = 0; start < given.samples.length; start += given.block) {
  output.push(...resampler.push(Float32Array.from(given.samples.slice(start, start + given.block))));
}
return output;
"""


def resampled(page: Page, rates: tuple[int, int], samples: np.ndarray, block: int = 128) -> np.ndarray:
    given = {"from": rates[0], "to": rates[1], "samples": samples.tolist(), "block": block}
    return np.array(run(page, "resampler", RESAMPLE, given))


def sine(rate: int, hertz: float, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("rates", RATES)
def test_a_voice_keeps_its_pitch_and_its_loudness(page: Page, rates: tuple[int, int]) -> None:
    for hertz in (200.0, 1000.0, 3000.0):
        output = resampled(page, rates, sine(rates[0], hertz))
        middle = output[len(output) // 4 : -len(output) // 4]
        times = np.arange(len(middle)) / rates[1]
        wave = np.stack([np.sin(2 * np.pi * hertz * times), np.cos(2 * np.pi * hertz * times)], axis=1)
        amplitudes, *_ = np.linalg.lstsq(wave, middle, rcond=None)
        assert np.hypot(*amplitudes) == pytest.approx(1, abs=0.01)
        assert np.std(middle - wave @ amplitudes) < 0.003


@pytest.mark.parametrize("rates", [(44100, 8000), (48000, 8000), (16000, 8000)])
def test_what_a_telephone_cannot_hold_is_left_out(page: Page, rates: tuple[int, int]) -> None:
    """It would come back as another tone: 5 kHz as 3 kHz."""
    output = resampled(page, rates, sine(rates[0], 5000))
    assert np.std(output[100:-100]) < 0.001


@pytest.mark.parametrize("rates", [(44100, 8000), (8000, 44100)])
def test_it_does_not_matter_in_which_pieces_samples_come(page: Page, rates: tuple[int, int]) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, 3000)
    whole = resampled(page, rates, samples, len(samples))
    assert len(whole) == pytest.approx(len(samples) * rates[1] / rates[0], rel=0.05)
    for block in (1, 7, 128):
        assert np.array_equal(resampled(page, rates, samples, block), whole)


PULL = """
const resampler = new use.Resampler(8000, given.rate);
const blocks = [];
let used = 0;
for (let block = 0; block < 100; block++) {
  const needed = resampler.needs(128);
  blocks.push(resampler.push(Float32Array.from(given.samples.slice(used, used + needed)), 128));
  used += needed;
}
return blocks;
"""


@pytest.mark.parametrize("rate", [44100, 48000, 16000, 8000, 22050])
def test_blocks_of_a_loudspeaker_are_full_and_join_without_a_gap(page: Page, rate: int) -> None:
    samples = sine(8000, 700, seconds=2)
    blocks = run(page, "resampler", PULL, {"rate": rate, "samples": samples.tolist()})
    assert {len(block) for block in blocks} == {128}
    assert np.array_equal(np.concatenate(blocks), resampled(page, (8000, rate), samples)[: 100 * 128])


PLAYOUT = """
const happened = [];
const playout = new use.Playout((name) => happened.push(name));
for (const [what, value] of given) {
  if (what === "put") playout.put(Uint8Array.from(value));
  if (what === "mark") playout.mark(value);
  if (what === "clear") playout.clear();
  if (what === "end") playout.end();
  if (what === "play") happened.push(Array.from(playout.play(value), (sample) => Math.round(sample * 32768)));
  happened.push(playout.pending);
}
return happened;
"""


def played(page: Page, *orders: tuple[str, object]) -> list[Any]:
    """What the playout buffer played and echoed, and after each order how much waits."""
    return list(run(page, "playout", PLAYOUT, json.loads(json.dumps(orders))))


def pcm(*codes: int) -> list[int]:
    return np.frombuffer(g711.decode_ulaw(bytes(codes)), "<i2").tolist()


def test_audio_is_played_in_its_order_and_a_mark_is_echoed_when_what_is_before_it_was_played(
    page: Page,
) -> None:
    happened = played(
        page, ("put", [1, 2, 3]), ("mark", "a"), ("put", [4]), ("mark", "b"), ("play", 2), ("play", 1), ("play", 5)
    )  # fmt: skip
    assert happened == [3, 3, 4, 4, pcm(1, 2), 2, "a", pcm(3), 1, "b", [*pcm(4), 0, 0, 0, 0], 0]


def test_a_mark_before_which_nothing_waits_is_echoed_at_once(page: Page) -> None:
    assert played(page, ("mark", "a"), ("put", []), ("mark", "b")) == ["a", 0, 0, "b", 0]


def test_a_clear_throws_away_what_is_not_played_and_echoes_every_mark(page: Page) -> None:
    happened = played(
        page, ("put", [1, 2, 3]), ("mark", "a"), ("put", [4]), ("mark", "b"), ("play", 1), ("clear", None),
        ("play", 1), ("put", [5]), ("play", 1),
    )  # fmt: skip
    assert happened == [3, 3, 4, 4, pcm(1), 3, "a", "b", 0, [0], 0, 1, pcm(5), 0]


def test_at_the_end_of_a_stream_nothing_is_echoed(page: Page) -> None:
    assert played(page, ("put", [1]), ("mark", "a"), ("end", None), ("play", 1)) == [1, 1, 0, [0], 0]


def test_a_microphone_sends_frames_of_160_bytes_and_silence_when_muted(page: Page) -> None:
    body = """
    const frames = [];
    const microphone = new use.Microphone(48000, (frame, level) => frames.push([Array.from(frame), level]));
    const block = new Float32Array(128).fill(2); // too loud
    for (let n = 0; n < 75; n++) microphone.hear(block);
    microphone.muted = true;
    for (let n = 0; n < 75; n++) microphone.hear(block);
    return frames;
    """
    frames = run(page, "microphone", body)
    assert {len(frame) for frame, _ in frames} == {160}
    assert len(frames) == 2 * 75 * 128 // 960 - 1  # the filter holds back a little
    assert frames[5] == [[0x80] * 160, 1]
    assert frames[-1] == [[0xFF] * 160, 0]


SHOW = """
const list = document.createElement("ol");
document.body.append(document.createElement("div"));
document.body.lastChild.append(list);
const transcript = new use.Transcript(list);
for (const [told, over] of given) transcript.show(told, over);
const text = (item) => item.innerText.replaceAll("\\u00a0", " ").split(/\\n+/);
return { items: [...list.children].map(text), figures: use.figures(given.at(-1)[0]) };
"""


def said(at: float, text: str, heard: str | None = None, **more: object) -> dict[str, object]:
    heard = text if heard is None else heard
    length = {"heardMs": 900, "totalMs": 900 if heard == text else 4000}
    return {
        "speaker": "assistant", "at": at, "text": text, "heard": heard, "failed": False, **length, **more,
    }  # fmt: skip


def caller(at: float, text: str, **more: object) -> dict[str, object]:
    return said(at, text, speaker="caller", **more)


ANSWERED = {"event": "answered", "at": 9.0, "answer_ms": 800, "vad_ms": 510, "twilio_ms": -9}
INTERRUPTED = {"event": "interrupted", "at": 11.0, "silence_ms": 240, "us_ms": 1}


def shown(page: Page, *stories: tuple[list[dict[str, object]], bool]) -> dict[str, Any]:
    """What the transcript reads when it was shown these stories one after the other."""
    return dict(run(page, "transcript", SHOW, stories))


@pytest.mark.parametrize("first", ["the text", "the sound"])
def test_an_answer_has_its_latency_whatever_is_known_first(page: Page, first: str) -> None:
    answer = said(9.1 if first == "the sound" else 8.9, "Yes.")
    events = [ANSWERED, answer] if first == "the sound" else [answer, ANSWERED]
    story = [said(1, "Hello."), caller(7, "Hello?"), *events]
    latency = "Answered after 0.80 s turn detection 0.51 s · line 0.00 s"
    assert shown(page, (story, False))["items"] == [
        ["Assistant 0:01", "Hello."],
        ["You 0:07", "Hello?"],
        [f"Assistant 0:0{'9' if first == 'the sound' else '8'}", latency, "Yes."],
    ]


def test_an_interruption_is_marked_where_it_happened(page: Page) -> None:
    story = [said(9, "Yes, we are.", "Yes,"), INTERRUPTED, caller(12, "Wait.")]
    (answer, _) = shown(page, (story, False))["items"]
    assert [line.strip() for line in answer[1:]] == [
        "Yes,",
        "(not heard:)",
        "we are.",
        "You interrupted here0.90 s of 4.00 s were heard",
        "Silent after 0.24 s server 0.00 s",
    ]


def test_what_is_being_said_is_not_cut_off_until_it_is_over(page: Page) -> None:
    story = [said(9, "Yes, we are.", "Yes,")]
    assert shown(page, (story, False))["items"] == [["Assistant 0:09", "Yes, we are."]]
    (answer,) = shown(page, (story, False), (story, True))["items"]
    assert answer[-1] == "Cut off here0.90 s of 4.00 s were heard"


def test_what_is_not_said_any_more_goes(page: Page) -> None:
    hello, question = said(1, "Hello."), caller(2, "", failed=True)
    items = shown(page, ([hello, question, hello], False), ([hello, question], True))["items"]
    assert items == [["Assistant 0:01", "Hello."], ["You 0:02", "not understood"]]


def test_what_happened_is_said_in_words(page: Page) -> None:
    tool = {"speaker": "tool", "name": "look_up", "waiting": True, "at": 1}
    events = [
        {"event": "tool", "name": "look_up", "seconds": 1.25, "failed": False},
        {"event": "session lost"},
    ]
    items = shown(page, ([tool, *events], False))["items"]
    assert [line for (line,) in items] == [
        "The assistant uses look_up …",
        "look_up answered after 1.25 s",
        "The model's session was lost, and another one takes over",
    ]


def test_the_figures_are_those_of_the_whole_call(page: Page) -> None:
    answers = [ANSWERED | {"answer_ms": ms} for ms in (500, 900, 700, None)]
    figures = shown(page, ([*answers, INTERRUPTED], False))["figures"]
    assert [figure.replace("\u00a0", " ") for figure in figures] == ["0.70 s", "0.70 s", "0.24 s"]
    assert shown(page, ([], False))["figures"] == [None, None, None]


def test_what_is_said_cannot_become_part_of_the_page(page: Page) -> None:
    attack = "<img src=x onerror=alert(1)>"
    assert shown(page, ([said(1, attack)], False))["items"] == [["Assistant 0:01", attack]]


LISTENING = """
    AudioContext.prototype.resume = async () => {};  // which nobody's click has allowed
    const started = [];
    const begin = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (at) {
      started.push([at, at + this.buffer.duration]);
      begin.call(this, at);
    };
    const answers = [20, 0.5, 0.5];
    window.fetch = async () => {
      const seconds = answers.shift() ?? 0;
      return new Response(new Uint8Array(16000 * seconds), { headers: { "X-Number": "1" } });
    };
    const listening = new use.Listening("/audio", () => {});
    await listening.start();
    while (answers.length) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    listening.stop();
    return started;
"""


def test_who_listens_hears_nothing_of_long_ago_and_no_two_pieces_at_once(page: Page) -> None:
    started = run(page, "listen", LISTENING)
    assert started[0][1] - started[0][0] == pytest.approx(4)
    for (_, ended), (began, _) in pairwise(started):
        assert began >= ended - 0.001
