"""Which members of a shard are translated, what they are called, and which samples stay whole."""

from __future__ import annotations

import pytest

from translate.inference.shard_plan import WITH_SAMPLE, Naming, Sample, plan_samples
from translate.io.shards import Member


def planned(*names: str, refused: str = "", **naming: object) -> list[Sample]:
    members = [Member(name, 0, 0, "no" if name == refused else None) for name in names]
    return plan_samples("x.tar", members, Naming(**naming))  # type: ignore[arg-type]


def written(samples: list[Sample]) -> list[str]:
    return [name for sample in samples if sample.is_whole for _, name in sample.outputs()]


def reasons(samples: list[Sample]) -> dict[str, str | None]:
    return {entry.path: entry.reason for sample in samples for entry in sample.entries}


def test_pictures_are_translated_and_all_else_is_carried() -> None:
    names = ["a.jpg", "a.json", "README", "b.input.PNG", "b.mask.png", "b.npy", "c.heic"]
    samples = planned(*names)
    pictures = [member.name for sample in samples for member, _ in sample.pictures()]
    assert pictures == ["a.jpg", "b.input.PNG", "b.mask.png", "c.heic"]
    assert written(samples) == [*names[:-1], "c.png"]


def test_members_that_are_named_are_translated_alone() -> None:
    samples = planned("a.jpg", "b.input.PNG", "b.mask.png", members=("jpg", "input.png"))
    pictures = [member.name for sample in samples for member, _ in sample.pictures()]
    assert pictures == ["a.jpg", "b.input.PNG"]


def test_a_format_changes_the_last_part_of_the_extension() -> None:
    samples = planned("d.x/a.jpg", "d.x/a.json", "b.input.jpeg", suffix=".png")
    assert written(samples) == ["d.x/a.png", "d.x/a.json", "b.input.png"]


def test_variants_are_samples_of_their_own_with_all_members() -> None:
    samples = planned("a.input.jpg", "a.json", "b.cls", samples=2)
    assert written(samples) == ["a_1.input.jpg", "a_1.json", "a_2.input.jpg", "a_2.json", "b.cls"]
    assert samples[0].entries[0].outputs == ("x.tar/a_1.input.jpg", "x.tar/a_2.input.jpg")


@pytest.mark.parametrize(
    "names", [("a.jpg", "a.png"), ("a.jpg", "a.json", "a.PNG"), ("a.jpg", "b.jpg", "a.png")]
)
def test_a_format_that_makes_two_of_one_name_leaves_a_sample_out(names: tuple[str, ...]) -> None:
    samples = planned(*names, suffix=".png")
    assert not samples[-1].is_whole
    assert any("a.png would be in the shard twice" in str(why) for why in reasons(samples).values())


def test_a_picture_that_stays_is_not_replaced_by_one_that_is_translated() -> None:
    samples = planned("a.jpg", "a.png", suffix=".png", members=("jpg",))
    assert written(samples) == []


def test_numbers_of_variants_that_are_taken_leave_a_sample_out() -> None:
    samples = planned("a_2.json", "a.jpg", "a.json", samples=2)
    assert written(samples) == ["a_2.json"]
    assert "a_2.json" in str(samples[1].entries[0].reason)


def test_extensions_that_differ_by_case_alone_are_one_to_webdataset() -> None:
    samples = planned("a.jpg", "a.JPG", "b.jpg")
    assert written(samples) == ["b.jpg"]


def test_names_that_are_there_twice_are_both_left_out() -> None:
    samples = planned("a.jpg", "a.json", "b.jpg", "a.jpg")
    assert written(samples) == ["b.jpg"]
    assert reasons(samples)["x.tar/a.jpg"] == "is 2 times in the shard; leave one"


def test_a_refused_member_leaves_its_sample_out() -> None:
    samples = planned("a.jpg", "a.json", "b.jpg", refused="a.json")
    assert written(samples) == ["b.jpg"]
    assert reasons(samples) == {
        "x.tar/a.jpg": WITH_SAMPLE,
        "x.tar/a.json": "no",
        "x.tar/b.jpg": "interrupted",
    }
    assert list(samples[0].pictures()) == []


def test_what_webdataset_passes_over_is_carried_however_often() -> None:
    samples = planned("README", "a.jpg", "README")
    assert written(samples) == ["README", "a.jpg", "README"]
