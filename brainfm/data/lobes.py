"""Which lobe an anatomical label belongs to, by the words that atlases share."""

import re

LOBES = {
    "frontal": "frontal precentral orbito pars paracentral rectus rolandic supp_motor motor_cortex frontalpole",
    "parietal": "parietal postcentral precuneus supramarginal angular paracentral_lobule",
    "temporal": "temporal fusiform heschl entorhinal parahippocampal bankssts transversetemporal",
    "occipital": "occipital cuneus calcarine lingual pericalcarine visual v1 v2 v3 v4",
    "cingulate": "cingulate isthmus",
    "insula": "insula insular",
    "medial_temporal": "hippocampus amygdala",
    "deep": "thalamus caudate putamen pallidum accumbens ventraldc brainstem brain-stem",
    "cerebellum": "cerebellum cerebelum vermis",
}
"""Words of labels in the Desikan-Killiany, Destrieux, AAL and Harvard-Oxford atlases, by lobe (Klein & Tourville 2012)."""


def lobe_of(region: str) -> str:
    """The lobe of a label, with its side where the label says one; "" where no word is known."""
    label = region.lower()
    found = [
        (len(word), lobe)
        for lobe, words in LOBES.items()
        for word in words.split()
        if (label == word if len(word) < 3 else word in label)
    ]
    if not found:
        return ""
    lobe = max(found)[1]  # the longest word decides: parahippocampal is no hippocampus, precuneus no cuneus
    side = re.search(r"(?:^|[^a-z])(lh|rh|left|right|l|r)(?:[^a-z]|$)", label)
    return f"{lobe}_{side[1][0]}" if side else lobe
