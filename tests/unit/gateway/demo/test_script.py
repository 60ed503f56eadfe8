from random import Random

from gateway.demo.script import SHARED, Typist, first_text


def play(seed: int, count: int) -> str:
    typists = [Typist("ann", Random(seed)), Typist("ben", Random(seed + 1))]
    text = first_text("ann", "ben")
    for number in range(count):
        at, deleted, inserted = typists[number % 2].next_patch(text)
        assert at >= 0
        assert at + deleted <= len(text)
        text = text[:at] + inserted + text[at + deleted :]
    return text


def test_a_seed_repeats_the_story_to_the_letter() -> None:
    assert play(3, 500) == play(3, 500)
    assert play(3, 500) != play(4, 500)


def test_patches_fit_the_text_and_every_line_stays_short() -> None:
    text = play(1, 5000)
    lines = text.split("\n")
    assert [line.split(": ")[0] for line in lines] == ["ann", "ben", SHARED[:-2]]
    assert max(map(len, lines)) < 400


def test_a_typist_survives_a_text_without_its_line() -> None:
    typist = Typist("ann", Random(1))
    for _ in range(200):
        at, deleted, _ = typist.next_patch("nothing")
        assert (at, deleted) == (7, 0) or at + deleted <= 7 or deleted > 0
