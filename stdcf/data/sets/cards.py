"""What a user should know of each data set before having it; imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A data set.

    Attributes:
        what: classes, videos, size on disk.
        needs: files by which it is read.
        tree: an example of its folder, a line each.
        licence: as its authors state it.
        source: where it comes from.
        synthetic: it is generated here.
    """

    what: str
    needs: str
    tree: tuple[str, ...] = ()
    licence: str = ""
    source: str = ""
    synthetic: bool = False


_KINETICS_NEEDS = (
    "train.csv and val.csv (label,youtube_id,time_start,time_end,split) beside videos named "
    "<id>_<start>_<end>.mp4 (or mkv, avi, webm; six digits each) or <id>.mp4; or lists of `path "
    "label`; or train/<class>/<video> beside val/<class>/<video>"
)
_KINETICS_TREE = ("train.csv", "val.csv", "train/-3B32lodo2M_000059_000069.mp4")
_KINETICS_LICENCE = "annotations CC BY 4.0; the videos are their uploaders'"

CARDS = {
    "kth": Card(
        "6 actions, 25 persons, 599 videos (1.1 GB)",
        "<action>/person01_<action>_d1_uncomp.avi and 00sequences.txt; a part of it works too",
        ("00sequences.txt", "boxing/person01_boxing_d1_uncomp.avi"),
        "free for research",
        "python -m suites.data download kth",
    ),
    "weizmann": Card(
        "10 actions, 9 persons, 90 videos (8 MB)",
        "<person>_<action>.avi, as daria_bend.avi",
        ("daria_bend.avi", "daria_jack.avi"),
        "none stated",
        "its authors' page: www.wisdom.weizmann.ac.il/~vision/SpaceTimeActions.html",
    ),
    "jhmdb": Card(
        "21 actions, 928 clips of 15 to 40 frames",
        "<class>/<clip>.avi beside splits/<class>_test_split1.txt, or beside split1_train.txt and "
        "split1_test.txt",
        ("splits/jump_test_split1.txt", "jump/<clip>.avi"),
        "none stated; of HMDB51, its source, CC BY 4.0",
        "its authors' page: jhmdb.is.tue.mpg.de",
    ),
    "ucf101": Card(
        "101 actions, 13,320 clips (7 GB)",
        "UCF-101/<class>/<clip>.avi beside ucfTrainTestlist/trainlist01.txt and testlist01.txt",
        (
            "ucfTrainTestlist/trainlist01.txt",
            "ucfTrainTestlist/testlist01.txt",
            "UCF-101/Archery/v_Archery_g01_c01.avi",
        ),
        "none stated",
        "its authors' page: www.crcv.ucf.edu/data/UCF101.php",
    ),
    "hmdb51": Card(
        "51 actions, 6,766 clips (2 GB)",
        "<class>/<clip>.avi beside testTrainMulti_7030_splits/<class>_test_split1.txt",
        ("testTrainMulti_7030_splits/wave_test_split1.txt", "wave/<clip>.avi"),
        "CC BY 4.0",
        "its authors' page: serre-lab.clps.brown.edu",
    ),
    "kinetics400": Card(
        "400 actions, 240,000 videos of 10 seconds (about 450 GB)",
        _KINETICS_NEEDS,
        _KINETICS_TREE,
        _KINETICS_LICENCE,
        "github.com/cvdfoundation/kinetics-dataset; a small generated tree: "
        "python -m suites.data generate kinetics400",
    ),
    "kinetics600": Card(
        "600 actions, about 480,000 videos of 10 seconds",
        _KINETICS_NEEDS,
        _KINETICS_TREE,
        _KINETICS_LICENCE,
        "github.com/cvdfoundation/kinetics-dataset",
    ),
    "kinetics700": Card(
        "700 actions, about 650,000 videos of 10 seconds",
        _KINETICS_NEEDS,
        _KINETICS_TREE,
        _KINETICS_LICENCE,
        "github.com/cvdfoundation/kinetics-dataset",
    ),
    "something_v1": Card(
        "174 directed motions, 108,499 videos as JPEG frames (25 GB)",
        "something-something-v1-train.csv, -validation.csv, -labels.csv (id;label) beside "
        "20bn-something-something-v1/<id>/00001.jpg",
        (
            "something-something-v1-train.csv",
            "something-something-v1-validation.csv",
            "20bn-something-something-v1/1/00001.jpg",
        ),
        "its own, for research",
        "its authors; a small generated tree: python -m suites.data generate something_v1",
    ),
    "something_v2": Card(
        "174 directed motions, 220,847 videos in WebM (19 GB)",
        "labels/train.json, validation.json, labels.json beside "
        "20bn-something-something-v2/<id>.webm, or beside folders <id> of frames",
        (
            "labels/train.json",
            "labels/validation.json",
            "20bn-something-something-v2/1.webm",
        ),
        "its own, for research",
        "developer.qualcomm.com/software/ai-datasets; a small generated tree: "
        "python -m suites.data generate something_v2",
    ),
    "jester": Card(
        "27 gestures, 148,092 videos as JPEG frames (23 GB)",
        "jester-v1-train.csv, -validation.csv, -labels.csv (id;label) beside "
        "20bn-jester-v1/<id>/00001.jpg",
        ("jester-v1-train.csv", "jester-v1-validation.csv", "20bn-jester-v1/1/00001.jpg"),
        "its own, for research",
        "developer.qualcomm.com/software/ai-datasets",
    ),
    "diving48": Card(
        "48 kinds of dives, about 17,000 videos",
        "Diving48_V2_train.json and Diving48_V2_test.json (vid_name, label) beside <vid_name>.mp4; "
        "Diving48_vocab.json names the classes",
        ("Diving48_V2_train.json", "Diving48_V2_test.json", "rgb/<vid_name>.mp4"),
        "none stated",
        "its authors' page: www.svcl.ucsd.edu/projects/resound/dataset.html",
    ),
    "epic100": Card(
        "97 verbs, 300 nouns, 89,977 segments of 100 hours of film",
        "EPIC_100_train.csv and EPIC_100_validation.csv beside <video_id>.MP4, or beside folders "
        "<video_id> of frames; EPIC_100_verb_classes.csv and EPIC_100_noun_classes.csv name the "
        "classes",
        ("EPIC_100_train.csv", "EPIC_100_validation.csv", "P01/videos/P01_01.MP4"),
        "CC BY-NC 4.0",
        "epic-kitchens.github.io",
    ),
    "video_folder": Card(
        "videos of your own",
        "<class>/<video>, or train/<class>/<video> beside test/<class>/<video> (val, valid …)",
        ("train/jump/1.mp4", "test/jump/2.mp4"),
        "yours",
        "your camera",
    ),
    "video_list": Card(
        "videos of your own, or frames of them, by lists",
        "train.txt and test.txt (lines `path label` or `frame_dir frames label`), or any files by "
        "--data-option train=FILE and test=FILE, beside the videos",
        ("train.txt", "test.txt", "videos/1.mp4"),
        "yours",
        "your camera",
    ),
    "synthetic_actions": Card(
        "KTH's 6 actions by drawn figures",
        "nothing: it is generated at first use",
        licence="Apache-2.0",
        synthetic=True,
    ),
}
