"""Responses to pictures: the table, its splits, the noise ceiling, and the simulated cortex that they are tried on."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from brainfm.data.cards import DataCard
from brainfm.data.noise_ceiling import (
    highest_correlation,
    mixed_noise_ceiling,
    noise_ceiling,
    noise_signal_ratio,
)
from brainfm.data.picture_splits import (
    by_pictures,
    first_sessions,
    shared_pictures,
    shared_test,
)
from brainfm.data.recording import Recording, Sensors, Signal, Track
from brainfm.data.scenes import COLOURS, Scenes
from brainfm.data.seen import Seen, as_pictures, refuse_mixed
from brainfm.data.viewers import by_fold
from brainfm.data.visual_cortex import VisualCortex, energies
from brainfm.errors import DataError


@pytest.fixture(scope="module")
def cortex() -> VisualCortex:
    return VisualCortex.simulate(0, subjects=3, pictures=300, shared=60, voxels=(80, 120))


def little(sessions: int = 2) -> Seen:
    rng = np.random.default_rng(3)
    picture = np.array([0, 1, 2, 0, 1, 2, 3, 3])
    return Seen(
        subject="a",
        response=rng.normal(5, 2, (8, 4)).astype(np.float32),
        voxels=Sensors.of(["a", "b", "c", "d"], "voxel", "1"),
        picture=picture,
        pictures=rng.uniform(0, 1, (4, 1, 2, 2)).astype(np.float32),
        session=np.arange(8) * sessions // 8,
        names=("p", "q", "r", "s"),
    )


# --- the table ----------------------------------------------------------------------------------------------


def test_sessions_are_standardised_each_by_itself() -> None:
    seen = little()
    done = seen.standardised("session_all")
    for session in (0, 1):
        here = done.response[done.session == session]
        np.testing.assert_allclose(here.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(here.std(axis=0), 1, atol=1e-5)
    kept = done.statistics
    assert kept is not None and kept.mean.shape == (2, 4)
    back = done.response * kept.spread[done.session] + kept.mean[done.session]
    np.testing.assert_allclose(back, seen.response, rtol=1e-5)
    with pytest.raises(DataError, match="once"):
        done.standardised("session_all")


def test_the_training_trials_alone_may_say_the_scale() -> None:
    seen, train = little(), np.array([0, 1, 2, 4, 5])
    done = seen.standardised("session_train", train)
    spoiled = seen.response.copy()
    spoiled[[3, 6, 7]] += 100  # what is tested
    other = replace(seen, response=spoiled).standardised("session_train", train)
    np.testing.assert_array_equal(done.response[train], other.response[train])
    everything = replace(seen, response=spoiled).standardised("session_all")
    assert not np.allclose(everything.response[train], done.response[train], atol=0.1)
    with pytest.raises(DataError, match="session 1 has 1 trials"):
        seen.standardised("session_train", np.array([0, 1, 2, 4]))
    with pytest.raises(DataError, match="needs the training rows"):
        seen.standardised("session_train")


def test_a_voxel_that_never_changes_becomes_nothing() -> None:
    seen = little()
    response = seen.response.copy()
    response[:, 2] = 7
    assert (replace(seen, response=response).standardised("session_all").response[:, 2] == 0).all()


def test_repeats_are_averaged_and_counted() -> None:
    seen = little()
    mean = seen.averaged()
    assert mean.picture.tolist() == [0, 1, 2, 3] and mean.repeats.tolist() == [2, 2, 2, 2]
    np.testing.assert_allclose(mean.response[0], seen.response[[0, 3]].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(mean.averaged().response, mean.response)
    np.testing.assert_array_equal(mean.images([2, 0, 2]), np.asarray(seen.pictures)[[2, 0, 2]])


def test_what_does_not_fit_is_one_sentence() -> None:
    seen = little()
    with pytest.raises(DataError, match="a picture, a session and a count"):
        replace(seen, picture=seen.picture[:-1])
    with pytest.raises(DataError, match="shows picture 3 of 3"):
        replace(seen, pictures=np.asarray(seen.pictures)[:3], names=("p", "q", "r"))
    response = seen.response.copy()
    response[0, 1] = np.nan
    with pytest.raises(DataError, match="1 of 4 voxels"):
        replace(seen, response=response)
    with pytest.raises(DataError, match="beta_version"):
        refuse_mixed([replace(seen, beta_version="betas_fithrf"), seen])
    with pytest.raises(DataError, match="standardisation"):
        refuse_mixed([seen.standardised("session_all"), seen])


def test_pictures_are_bytes_or_shares() -> None:
    data = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    np.testing.assert_allclose(as_pictures(data, "x")[0, 1, 0], data[0, 0, :, 1] / 255)
    with pytest.raises(DataError, match="0 to 11"):
        as_pictures(data.astype(float), "x")
    with pytest.raises(DataError, match="neither grey"):
        as_pictures(np.zeros((1, 5, 4, 4)), "x")


def test_a_recording_with_pictures_becomes_a_table() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (6, 3, 3)).astype(np.uint8)
    frames[4] = frames[1]  # seen again
    signal = Signal(rng.normal(size=(5, 6)), 1.0, Sensors.of(list("abcde"), "voxel", "1"), tuple(range(1, 6)))
    one = Recording(
        {"fmri": signal}, tracks={"image": Track(frames, 1.0)}, subject="1", session="1", dataset="d"
    )
    seen = Seen.of(one)
    assert seen.picture.tolist() == [0, 1, 2, 3, 1, 4] and len(seen.names) == 5 and seen.who == "d/1"
    np.testing.assert_array_equal(seen.images()[4, 0], frames[1].astype(np.float32) / 255)
    np.testing.assert_allclose(seen.response, signal.load().T, rtol=1e-6)
    both = Seen.of([one, replace(one, session="2")])
    assert both.session.tolist() == [0] * 6 + [1] * 6 and both.names == seen.names
    with pytest.raises(DataError, match="no track 'image'"):
        Seen.of(replace(one, tracks={}))


def test_the_digits_become_a_table() -> None:
    if "BRAINFM_DATA" not in os.environ or not Path(os.environ["BRAINFM_DATA"], "fmri_digits69").is_dir():
        pytest.skip("BRAINFM_DATA holds no fmri_digits69")
    seen = Seen.of(DataCard.load("fmri_digits69").recordings())
    assert seen.response.shape == (90, 3092) and seen.pictures.shape == (90, 1, 28, 28)
    assert 0 <= seen.images().min() < 0.01 and seen.images().max() == 1
    folds = [by_fold([seen], 10, number, "none")[0] for number in range(10)]
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(90))


# --- splits -------------------------------------------------------------------------------------------------


def test_shared_pictures_are_tested_and_nobody_trains_on_them(cortex: VisualCortex) -> None:
    assert shared_pictures(cortex.people) == cortex.shared
    for one, fold in zip(cortex.people, shared_test(cortex.people), strict=True):
        assert set(one.rows(fold.test).shown) == set(cortex.shared)
        assert not set(one.rows(fold.train).shown) & set(cortex.shared)
        assert len(fold.test) == 180 and len(fold.train) == 300


@pytest.mark.parametrize("folds", [2, 7])
def test_no_picture_is_on_both_sides(cortex: VisualCortex, folds: int) -> None:
    one = cortex.people[0]
    found = [by_fold([one], folds, number, "none")[0] for number in range(folds)]
    for fold in found:
        assert not set(one.picture[fold.train]) & set(one.picture[fold.test])
        assert len(fold.train) + len(fold.test) == len(one)
    tested = np.concatenate([fold.test for fold in found])
    assert sorted(tested) == list(range(len(one)))
    with pytest.raises(DataError, match="can't be tested in 1 folds"):
        by_fold([one], 1, 0, "none")


def test_first_sessions_and_what_is_left(cortex: VisualCortex) -> None:
    one = cortex.people[1]
    hour = first_sessions(one)
    assert len(hour) == 120 and set(one.session[hour]) == {0}
    with pytest.raises(DataError, match="has 4 sessions, not 5"):
        first_sessions(one, 5)
    with pytest.raises(DataError, match="no trial is left on the test side"):
        by_pictures(one, ["nothing"])


# --- noise ceiling ------------------------------------------------------------------------------------------


def test_the_simulated_ratio_is_recovered() -> None:
    cortex = VisualCortex.simulate(1, subjects=1, pictures=0, shared=1500, voxels=(60, 60), sessions=6)
    seen, truth = cortex.people[0], cortex.truth[0]
    found = noise_signal_ratio(seen)
    assert abs(np.mean(found / truth.ncsnr) - 1) < 0.02
    assert np.max(np.abs(found / truth.ncsnr - 1)[truth.ncsnr > 0.5]) < 0.12
    np.testing.assert_allclose(
        np.median(noise_ceiling(found, 3)), np.median(noise_ceiling(truth.ncsnr, 3)), rtol=0.05
    )
    # a perfect model's score is the ceiling: R² of the mean over three trials, explained by the signal
    mean = seen.standardised("session_all").averaged()
    correlation = [
        np.corrcoef(mean.response[:, voxel], truth.signal[mean.picture, voxel])[0, 1]
        for voxel in range(len(found))
    ]
    np.testing.assert_allclose(
        np.mean(correlation), np.mean(highest_correlation(noise_ceiling(truth.ncsnr, 3))), rtol=0.05
    )
    drifting = replace(seen, session=np.zeros_like(seen.session))  # sessions that are not told apart
    assert np.mean(noise_signal_ratio(drifting) / truth.ncsnr) < 0.93


def test_ceilings_of_means() -> None:
    ratio = np.array([2 / 3, 1.0])
    np.testing.assert_allclose(noise_ceiling(ratio, 1), [100 * (4 / 9) / (4 / 9 + 1), 50])
    counts = np.array([3, 2, 1, 1])
    np.testing.assert_allclose(
        mixed_noise_ceiling(ratio, counts), 100 * ratio**2 / (ratio**2 + (1 / 3 + 1 / 2 + 2) / 4)
    )
    np.testing.assert_allclose(noise_ceiling(ratio, 3), mixed_noise_ceiling(ratio, np.array([3, 3])))
    with pytest.raises(DataError, match="no picture was seen 3 times"):
        noise_signal_ratio(little())
    with pytest.raises(DataError, match="single trials"):
        noise_signal_ratio(little().averaged(), 2)


# --- the simulated cortex -----------------------------------------------------------------------------------


def test_a_receptive_field_is_where_it_says(cortex: VisualCortex) -> None:
    """A thing at a voxel's centre drives it more than one elsewhere."""
    checked = 0
    for one, truth in zip(cortex.people, cortex.truth, strict=True):
        place = cortex.scenes.place
        for voxel in np.flatnonzero([area == "V1" for area in truth.area]):
            if np.abs(truth.centre[voxel]).max() > 0.4:
                continue
            far = np.linalg.norm(place - truth.centre[voxel], axis=1)
            seen = np.unique(one.picture)
            assert (
                truth.signal[seen[far[seen] < 0.25], voxel].mean()
                > truth.signal[seen[far[seen] > 0.6], voxel].mean()
            )
            checked += 1
    assert checked >= 10


def test_people_differ_and_share_kinds_of_voxels(cortex: VisualCortex) -> None:
    counts = [len(one.voxels) for one in cortex.people]
    assert len(set(counts)) > 1
    for truth in cortex.truth:
        assert 16 <= len(set(truth.cluster)) <= 19  # one of twenty is lacking, others may have no voxel
        semantic = np.array([area in ("LOC", "VTC") for area in truth.area])
        assert np.isnan(truth.size[semantic]).all() and np.isfinite(truth.size[~semantic]).all()
    again = VisualCortex.simulate(0, subjects=3, pictures=300, shared=60, voxels=(80, 120))
    np.testing.assert_array_equal(again.people[2].response, cortex.people[2].response)


def test_orientation_energy_knows_its_direction() -> None:
    x = np.arange(20)
    upright = np.broadcast_to(0.5 + 0.5 * np.cos(2 * np.pi * x / 5), (1, 1, 20, 20)).astype(np.float32)
    mean = energies(upright).mean(axis=(0, 2, 3))
    assert mean[1] > 20 * mean[3] and mean[1] > 3 * mean[2] and (mean[5:] == 0).all()
    turned = energies(upright.transpose(0, 1, 3, 2)).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(turned[3], mean[1], rtol=1e-6)


def test_scenes_show_their_colour_where_they_say() -> None:
    scenes = Scenes.draw(50, np.random.default_rng(2))
    discs = np.flatnonzero(scenes.thing == 0)
    pictures = scenes.pictures(32)
    assert len(discs) > 3 and pictures.min() >= 0 and pictures.max() <= 1
    for row in discs:
        x, y = ((scenes.place[row] + 1) / 2 * 32).astype(int)
        colour = scenes.attributes()[row, 6:].argmax()
        np.testing.assert_allclose(pictures[row, :, y, x], list(COLOURS.values())[colour], atol=0.05)
    assert scenes.pictures(16, grey=True).shape == (50, 1, 16, 16)
