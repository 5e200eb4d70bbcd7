from ecgopt.data.labels import label_set
from ecgopt.data.overlap import label_overlap


def test_findings_are_matched_across_code_systems():
    overlap = label_overlap(label_set("ptbxl_all"), label_set("code_test_six"))
    assert set(overlap.same) == {
        ("1AVB", "1dAVb"),
        ("CRBBB", "RBBB"),
        ("CLBBB", "LBBB"),
        ("SBRAD", "SB"),
        ("AFIB", "AF"),
        ("STACH", "ST"),
    }
    assert overlap.share == 1.0


def test_wider_classes_are_related_and_not_the_same():
    overlap = label_overlap(label_set("ptbxl_superclass"), label_set("cpsc2018"))
    assert ("CD", "LBBB") in overlap.related
    assert ("CD", "LBBB") not in overlap.same
    assert "PAC" in overlap.only_downstream


def test_classes_nobody_taught_are_named():
    overlap = label_overlap(label_set("georgia"), label_set("chagas"))
    assert overlap.only_downstream == ("Chagas",)
    assert overlap.share == 0.0


def test_a_label_set_overlaps_wholly_with_itself():
    for name in ("georgia", "cinc2021", "ptbxl_subclass"):
        labels = label_set(name)
        assert set(label_overlap(labels, labels).same) >= {(c, c) for c in labels.classes}
