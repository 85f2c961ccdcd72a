"""`python -m bfr_dicomweb` is the command `bfr-dicomweb`."""

from bfr_dicomweb.cli import main

main()
