"""A small synthetic organisation and a model fitted to it, made once for all tests of the detector."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from detector.evaluation.truth import read_answers
from detector.from_directory import USER_DAYS, KeyByTime, lessons_of_directory
from detector.model_file import Model
from detector.training import Key, Lessons, fit_model
from stream.synth import write_organisation
from windowing.directory import Directory
from windowing.offline import windows_of
from windowing.record import Window, parse_window


@dataclass(frozen=True)
class Taught:
    """An organisation, what was learned from it, and its windows with the key's events in each."""

    directory: Path
    lessons: Lessons
    model: Model
    windows: list[Window]
    keys: list[Key]


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    directory = tmp_path_factory.mktemp("taught") / "organisation"
    write_organisation(directory, 50, 40, 4711, 8)
    lessons = lessons_of_directory(directory)
    people = Directory.read(directory)
    made = windows_of(directory, USER_DAYS, people=people)
    windows = [parse_window(value.encode()) for batch in made for value in batch.windows["value"]]
    key_of = KeyByTime.of(read_answers(directory))
    return Taught(directory, lessons, fit_model(lessons), windows, [key_of(window) for window in windows])
