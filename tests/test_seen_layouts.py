"""Public sets of responses to pictures, on little files in their published layouts."""

from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from brainfm.data.cards import DataCard
from brainfm.data.picture_splits import by_pictures
from brainfm.data.viewers import people_of
from brainfm.data.viewing import nsd as module
from brainfm.data.viewing.bold5000 import REGIONS, bold5000
from brainfm.data.viewing.miyawaki import miyawaki
from brainfm.data.viewing.nsd import nsd, shared1000
from brainfm.data.viewing.things_fmri import kept_for_test, things_fmri
from brainfm.errors import DataError

SHAPE = (4, 3, 2)
VOXELS = 10


def nsd_folder(root: Path, form: str = "hdf5") -> np.ndarray:
    """Two sessions of subject 1, five trials each, of which 750 count; returns the betas (session, x, y, z, trial)."""
    rng = np.random.default_rng(0)
    betas = rng.integers(-900, 900, (2, *SHAPE, 5)).astype(np.int16)
    mask = np.zeros(SHAPE, np.int16)
    mask[0] = -1
    mask[1:].flat[:VOXELS] = 1
    person = root / "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
    roi = root / "nsddata/ppdata/subj01/func1pt8mm/roi"
    experiment, stimuli = root / "nsddata/experiments/nsd", root / "nsddata_stimuli/stimuli/nsd"
    for folder in (person, roi, experiment, stimuli):
        folder.mkdir(parents=True)
    affine = np.diag([1.8, 1.8, 1.8, 1])
    nib.save(nib.Nifti1Image(mask, affine), roi / "nsdgeneral.nii.gz")
    for session in (1, 2):
        stem = person / f"betas_session{session:02d}"
        if form == "hdf5":
            with h5py.File(f"{stem}.hdf5", "w") as file:
                file["betas"] = betas[session - 1].transpose(3, 2, 1, 0)
        else:
            nib.save(nib.Nifti1Image(betas[session - 1], affine), f"{stem}.nii.gz")
    order = np.tile(np.arange(1, 7), 250)  # six pictures, again and again
    subjectim = np.array([[3, 5, 7, 9, 11, 2], [3, 5, 8, 10, 12, 2]])
    savemat(
        experiment / "nsd_expdesign.mat",
        {"masterordering": order[None], "subjectim": subjectim, "sharedix": np.array([[2, 3, 5]])},
    )
    with h5py.File(stimuli / "nsd_stimuli.hdf5", "w") as file:
        file["imgBrick"] = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones(
            (1, 6, 6, 3), np.uint8
        )
    return betas


@pytest.fixture
def few_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.NSDGENERAL, 1, VOXELS)


@pytest.mark.parametrize("form", ["hdf5", "nii"])
def test_nsd(tmp_path: Path, form: str, few_voxels: None) -> None:
    betas = nsd_folder(tmp_path, form)
    seen = nsd(tmp_path, 1)
    assert seen.who == "fmri_nsd/subj01" and seen.response.shape == (10, VOXELS)
    for trial, voxel in ((0, 0), (7, 4), (9, 9)):
        place = tuple(int(one) for one in seen.voxels.name[voxel].split("-"))
        assert place[0] > 0  # nothing of -1, and of 0
        value = betas[(trial // 5, *place, trial % 5)] / 300
        np.testing.assert_allclose(seen.response[trial, voxel], value, rtol=1e-6)
        np.testing.assert_allclose(seen.voxels.position[voxel], 0.0018 * np.array(place), atol=1e-9)
    # trial 1 shows picture 3 of 73,000 (from 1); session 2 begins with trial 751, the first picture of the order again
    assert [seen.names[one] for one in seen.picture[:5]] == [f"nsd {one:05d}" for one in (2, 4, 6, 8, 10)]
    assert seen.picture[5] == seen.picture[0] and seen.session.tolist() == [1] * 5 + [2] * 5
    np.testing.assert_allclose(seen.images()[:, 1, 0, 0] * 255, [2, 4, 6, 8, 10] * 2, atol=1e-4)
    assert seen.images([6]).shape == (1, 3, 6, 6)
    assert shared1000(tmp_path) == ("nsd 00001", "nsd 00002", "nsd 00004")
    fold = by_pictures(seen, shared1000(tmp_path))
    assert fold.test.tolist() == [0, 1, 5, 6]
    assert len(nsd(tmp_path, 1, sessions=[2])) == 5
    np.testing.assert_allclose(seen.standardised("session_all").response[:5].mean(axis=0), 0, atol=1e-6)


def test_what_nsd_can_not_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="holds no betas_sessionNN"):
        nsd(tmp_path, 1)
    nsd_folder(tmp_path)
    with pytest.raises(DataError, match="10 voxels above 0, it should have 15724"):
        nsd(tmp_path, 1)
    monkeypatch.setitem(module.NSDGENERAL, 1, VOXELS)
    with pytest.raises(DataError, match=r"neither betas_session03\.hdf5"):
        nsd(tmp_path, 1, sessions=[3])
    path = tmp_path / "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session02.hdf5"
    with h5py.File(path, "r+") as file:
        file["betas"][:, 0, 0, 1] = 7  # the first voxel of the mask
    seen = nsd(tmp_path, 1)
    assert seen.response.shape == (10, VOXELS - 1)
    assert seen.notes == (f"1 of {VOXELS} voxels were not measured in every session",)
    with h5py.File(path, "w") as file:
        file["betas"] = np.zeros((5, *SHAPE))
    with pytest.raises(DataError, match="the mask is"):
        nsd(tmp_path, 1)


def test_bold5000(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(5, 2 + row)) for row, name in enumerate(REGIONS)}
    arrays["LHPPA"][:, 1] = 0
    (tmp_path / "ROIs/CSI1/mat").mkdir(parents=True)
    (tmp_path / "ROIs/stim_lists").mkdir()
    savemat(tmp_path / "ROIs/CSI1/mat/CSI1_ROIs_TR34.mat", arrays)
    listed = tmp_path / "ROIs/stim_lists/CSI01_stim_lists.txt"
    listed.write_text("b.jpg\na.png\nc.png\nrep_b.jpg\na.png\n")
    pictures = tmp_path / "Presented_Stimuli"
    (pictures / "COCO").mkdir(parents=True)
    with pytest.raises(DataError, match=r"lacks 3 of 3 pictures, a\.png among them"):
        bold5000(tmp_path, 1, pictures)
    for number, name in enumerate(("a.png", "COCO/b.jpg", "c.png")):
        Image.new("RGB", (8, 6), (40 * number, 0, 0)).save(pictures / name)
    seen = bold5000(tmp_path, 1, pictures)
    assert seen.picture.tolist() == [1, 0, 2, 1, 0] and seen.names == ("a.png", "b.jpg", "c.png")
    assert seen.response.shape == (5, sum(2 + row for row in range(10)) - 1) and seen.beta_version == "TR34"
    at = seen.voxels.name.index("RHLOC 3")
    np.testing.assert_allclose(seen.response[:, at], arrays["RHLOC"][:, 2], rtol=1e-6)
    assert seen.voxels.region[at] == "RHLOC" and "LHPPA 2" not in seen.voxels.name
    assert seen.images().shape == (5, 3, 6, 8)
    np.testing.assert_allclose(seen.images()[[1, 2], 0, 0, 0], [0, 80 / 255], atol=0.01)
    Image.new("RGB", (9, 6)).save(pictures / "c.png")
    with pytest.raises(DataError, match=r"c\.png is \(6, 9\) pixels, others are \(6, 8\)"):
        bold5000(tmp_path, 1, pictures).images()
    listed.write_text("b.jpg\n")
    with pytest.raises(DataError, match="5 responses do not fit 1 lines"):
        bold5000(tmp_path, 1, pictures)


def test_things(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "betas_csv"
    folder.mkdir()
    betas = rng.normal(size=(5, 6))
    with h5py.File(folder / "sub-01_ResponseData.h5", "w") as file:
        file["ResponseData/block0_values"] = betas
    (folder / "sub-01_VoxelMetadata.csv").write_text(
        "voxel_id,subject_id,IT,V1\n0,01,1,0\n1,01,0,0\n2,01,0.0,1.0\n3,01,1,0\n4,01,0,0\n"
    )
    trials = [("a_01.jpg", "train", 1), ("b_01.jpg", "test", 1), ("c_01.jpg", "train", 1)]
    trials += [("d_01.jpg", "train", 2), ("b_01.jpg", "test", 2), ("e_01.jpg", "train", 2)]
    lines = [f"{number},{kind},{session},{name}" for number, (name, kind, session) in enumerate(trials)]
    (folder / "sub-01_StimulusMetadata.csv").write_text(
        "\n".join(["trial_id,trial_type,session,stimulus", *lines])
    )
    for number, name in enumerate("abcde"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (0, 50 * number, 0)).save(tmp_path / "images" / name / f"{name}_01.jpg")
    seen = things_fmri(tmp_path, 1, tmp_path / "images", regions=("V1", "IT"))
    np.testing.assert_allclose(seen.response, betas[[0, 2, 3]].T, rtol=1e-6)
    assert seen.voxels.region == ("IT", "V1", "IT") and seen.voxels.name == ("0", "2", "3")
    assert seen.picture.tolist() == [0, 1, 2, 3, 1, 4] and seen.session.tolist() == [1, 1, 1, 2, 2, 2]
    np.testing.assert_allclose(seen.images([4])[0, 1, 0, 0], 50 / 255, atol=0.01)
    assert kept_for_test(tmp_path, 1) == ("b_01.jpg",)
    assert by_pictures(seen, kept_for_test(tmp_path, 1)).test.tolist() == [1, 4]
    with pytest.raises(DataError, match="no column 'FFA'"):
        things_fmri(tmp_path, 1, tmp_path / "images", regions=("FFA",))
    with pytest.raises(DataError, match="lacks 5 of 5"):
        things_fmri(tmp_path, 1, folder)


def test_miyawaki(tmp_path: Path) -> None:
    """Two runs: pictures that last three volumes, rest between them; the blood answers two volumes late."""
    rng = np.random.default_rng(0)
    for folder in ("func", "label", "mask"):
        (tmp_path / folder).mkdir()
    inside = np.zeros(SHAPE, np.int16)
    inside.flat[:5] = 1
    nib.save(nib.Nifti1Image(inside, np.eye(4)), tmp_path / "mask/mask.nii.gz")
    first, second = rng.integers(0, 2, (2, 10, 10))
    rest = np.full((10, 10), -1)
    order = [rest, first, rest, second, rest, first, rest]
    screen = np.array([one.reshape(-1, order="F") for one in order for _ in range(3)])
    for kind, drift in (("random", 0.0), ("figure", 0.5)):
        course = np.zeros((*SHAPE, len(screen)), np.float32)
        for at in (3, 15):
            course[..., at + 2 : at + 5] = 1.0  # the first picture excites every voxel, the second none
        course += 100 + drift * np.arange(len(screen), dtype=np.float32)
        nib.save(nib.Nifti1Image(course, np.eye(4)), tmp_path / f"func/data_{kind}_run01.nii.gz")
        np.savetxt(tmp_path / f"label/data_{kind}_run01_label.csv", screen, fmt="%d", delimiter=",")
    seen = miyawaki(tmp_path)
    assert seen.response.shape == (6, 5) and seen.session.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(seen.images()[:3, 0], [first, second, first])
    answers = seen.response[:, 0]
    assert (answers[[0, 2, 3, 5]] > 0.5).all() and (answers[[1, 4]] < 0.1).all()
    np.testing.assert_allclose(answers[:3], answers[3:], atol=1e-3)  # drift is no response
    short = screen[:-1]
    np.savetxt(tmp_path / "label/data_random_run01_label.csv", short, fmt="%d", delimiter=",")
    with pytest.raises(DataError, match="21 volumes need 100 each"):
        miyawaki(tmp_path)
    (tmp_path / "label/data_random_run01_label.csv").unlink()
    with pytest.raises(DataError, match="says what was seen at each volume"):
        miyawaki(tmp_path)
    with pytest.raises(DataError, match="holds no run of picture"):
        miyawaki(tmp_path, ("picture",))


def test_cards_lead_to_people(tmp_path: Path, few_voxels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card says where a set lies and in what layout, so that recipes need its name alone."""
    monkeypatch.setenv("BRAINFM_DATA", str(tmp_path))
    card = DataCard.load("fmri_nsd")
    with pytest.raises(DataError, match="set BRAINFM_DATA to the folder that holds it"):
        people_of(card)
    (tmp_path / "fmri_nsd").mkdir()
    with pytest.raises(DataError, match="holds nobody's responses; fetch the set there first"):
        people_of(card)
    nsd_folder(tmp_path / "fmri_nsd")
    (seen,) = people_of(card)
    assert seen.who == "fmri_nsd/subj01" and len(seen) == 10
    named = {name: DataCard.load(name).viewing for name in ("fmri_bold5000", "fmri_things")}
    assert [type(one).__name__ for one in named.values()] == ["Bold5000", "ThingsFmri"]
    for name, one in named.items():
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match="holds nobody's responses"):
            one.people(tmp_path / name)
