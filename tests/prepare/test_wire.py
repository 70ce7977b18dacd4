"""Frames: what is sent arrives, in whatever pieces, and nothing makes the reader store more than it allows."""

from __future__ import annotations

import json
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepare.wire import MAX_MESSAGE, MAX_UNTRUSTED, Channel, Decoder, Frame, MalformedFrame, encode

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
frames = st.lists(st.tuples(st.dictionaries(st.text(max_size=8), values, max_size=4), st.binary(max_size=200)))


def read_all(decoder: Decoder) -> list[Frame]:
    found = []
    while (frame := decoder.next()) is not None:
        found.append(frame)
    return found


@given(frames, st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_being_cut_anywhere(sent: list[tuple[dict[str, object], bytes]], cuts: list[int]) -> None:
    stream = b"".join(encode(message, payload) for message, payload in sent)
    decoder, received, place, turn = Decoder(200), [], 0, 0
    while place < len(stream):
        size = cuts[turn % len(cuts)]
        decoder.feed(stream[place : place + size])
        received += read_all(decoder)
        place, turn = place + size, turn + 1
    assert [(frame.message, frame.payload) for frame in received] == sent


@given(st.binary(max_size=300))
def test_noise_is_refused_or_waited_for(noise: bytes) -> None:
    decoder = Decoder(100)
    decoder.feed(noise)
    if len(noise) < 16:
        assert decoder.next() is None
    elif not noise.startswith(b"TW01"):
        with pytest.raises(MalformedFrame):
            decoder.next()


def test_a_payload_above_the_bound_is_refused_before_it_comes() -> None:
    decoder = Decoder(1000)
    decoder.feed(encode({}, bytes(1001))[:16])
    with pytest.raises(MalformedFrame, match="1,001 bytes where at most 1,000 are taken"):
        decoder.next()
    within = Decoder(1000)
    within.feed(encode({}, bytes(1000)))
    assert within.next() == Frame({}, bytes(1000))


def test_a_message_above_the_bound_is_refused_before_it_comes() -> None:
    decoder = Decoder(0)
    decoder.feed(struct.pack("<4sIQ", b"TW01", MAX_MESSAGE + 1, 0))
    with pytest.raises(MalformedFrame, match="no message of the session protocol"):
        decoder.next()


def test_a_reader_that_does_not_trust_the_sender_takes_short_messages_only() -> None:
    decoder = Decoder(0, MAX_UNTRUSTED)
    decoder.feed(struct.pack("<4sIQ", b"TW01", MAX_UNTRUSTED + 1, 0))
    with pytest.raises(MalformedFrame, match="no message of the session protocol"):
        decoder.next()


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"3", b"\xff\xfe", b"[" * 60_000, b'{"n": ' + b"9" * 5000 + b"}"])
def test_a_message_that_is_no_object_is_refused(text: bytes) -> None:
    decoder = Decoder(0)
    decoder.feed(struct.pack("<4sIQ", b"TW01", len(text), 0) + text)
    with pytest.raises(MalformedFrame, match="JSON"):
        decoder.next()


def test_full_means_that_a_frame_can_be_taken() -> None:
    decoder = Decoder(500)
    whole = encode({"text": "x" * (MAX_MESSAGE - 20)}, bytes(500))
    assert not decoder.full
    decoder.feed(whole[:100])
    assert (decoder.full, decoder.next()) == (False, None)
    decoder.feed(whole[100:] + b"TW01" + bytes(MAX_MESSAGE))
    assert decoder.full
    assert decoder.next() is not None


def test_the_kind_is_a_word_whatever_was_sent() -> None:
    """The text of anything else would be made where nobody expects work or an error: of a nested list, a number."""
    assert Frame({"type": "state"}).kind == "state"
    assert [Frame({"type": odd}).kind for odd in ([[[]]], ["a"], 10**4000, None, {"state": 1})] == [""] * 5
    assert Frame({}).kind == ""


def test_a_channel_takes_frames_and_descriptors() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(theirs)
    reader, writer = os.pipe()
    socket.send_fds(ours, [encode({"type": "data"}, b"abc")], [reader])
    ours.sendall(encode({"type": "more"}))
    assert channel.receive() == Frame({"type": "data"}, b"abc")
    assert channel.receive().kind == "more"
    os.write(writer, b"through")
    assert os.read(channel.fds[0], 10) == b"through"
    channel.send({"type": "answer"}, b"xyz")
    decoder = Decoder(10)
    decoder.feed(ours.recv(1000))
    assert decoder.next() == Frame({"type": "answer"}, b"xyz")
    ours.close()
    with pytest.raises(EOFError, match="closed the session"):
        channel.receive()
    for descriptor in (reader, writer, *channel.fds):
        os.close(descriptor)
    theirs.close()


def test_not_a_number_travels() -> None:
    decoder = Decoder(0)
    decoder.feed(encode({"loss": float("nan")}))
    frame = decoder.next()
    assert frame is not None
    assert json.dumps(frame.message["loss"]) == "NaN"
