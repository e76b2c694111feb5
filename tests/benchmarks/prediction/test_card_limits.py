"""What a card says of the states that a world was trained on."""

from benchmarks.prediction.card import limits
from tests.conftest import TINY_CONFIG, with_states


def test_states_that_the_video_told_are_not_called_the_simulators():
    told = " ".join(limits(TINY_CONFIG, None))
    assert "`block_pose`" in told and "not learned from video alone" in told
    labelled = with_states(TINY_CONFIG, labelled=("block_pose",))
    found = " ".join(limits(labelled, None))
    assert "`irasim label` found in the video" in found
    assert "not learned from video alone" not in found
