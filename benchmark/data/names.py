"""What tasks are called, with a line each, and how many of their pairs are usual; needs neither
torch nor data."""

from __future__ import annotations

USUAL_SAMPLES = 16
"""Pairs of a task unless others are asked for: README's command attacks three trainings of the
costliest network, and should end within a minute on two cores."""

ANNY = {
    "anny/seen": "new people in the 400 training poses",
    "anny/unseen": "new people in 200 new straight poses",
    "anny/unseen-bent": "new people in 200 new bent poses",
    "anny/wide": "new people in 200 poses from wider ranges than training",
    "anny/natural": "new people in poses that people strike",
    "anny/tpose": "T- and A-poses for new people in natural ones",
    "anny/character": "new people in T- and A-poses, to be brought into natural ones",
    "anny/acrobatic": "new people at the ends of their joints' ranges",
    "anny/makers": "new people in other makers' proportions, natural poses",
}

DISTORTIONS = {
    "anny/scan@0": "to @5: simulated depth-camera scans instead of the pose mesh",
    "anny/noise@0.02": "Gaussian noise of so many metres per coordinate",
    "anny/jitter@1": "to @5: Gaussian noise",
    "anny/rotate@1": "to @5: turned",
    "anny/scale@1": "to @5: stretched along its axes",
    "anny/drop-global@1": "to @5: points missing everywhere",
    "anny/drop-local@1": "to @5: points missing in clusters",
    "anny/add-global@1": "to @5: stray points everywhere",
    "anny/add-local@1": "to @5: stray points in clusters",
}
"""An example of every kind; all on the pairs of ``anny/seen``."""

LICENSED = dict.fromkeys(
    (
        "smpl-npt/seen",
        "smpl-npt/unseen",
        "smpl-npt/unseen-bent",
        "smg-3d/seen",
        "faust/registrations",
        "faust/scans",
        "dfaust/registrations",
        "dfaust/scans",
    ),
    "needs data that you have on disk (--data)",
)

OWN = {"own/pairs": "pairs of your own meshes and scans (--pairs)"}

TASK_LINES = {**ANNY, **DISTORTIONS, **LICENSED, **OWN}
"""Built-in tasks. A test compares them with what the data sets themselves say."""
