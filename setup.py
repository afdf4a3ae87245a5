"""What setup.cfg cannot say: a wheel has the lessons and the answers to their exercises, in minidl/course."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCourse(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # the clone itself is what will be imported
            return
        for source in sorted([*Path("lessons").glob("*.py"), *Path("docs/answers").glob("*.md")]):
            target = Path(self.build_lib, "minidl", "course", source)
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))


setup(cmdclass={"build_py": BuildWithCourse})
