"""`python -m minidl`: the command `minidl`, also where the folder of the installed commands is not on the PATH."""

import sys

from minidl.cli import main

sys.exit(main())
