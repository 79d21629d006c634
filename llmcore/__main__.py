"""`python -m llmcore`: run the command line when the script `llmcore` is not on the path."""

import sys

from llmcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
