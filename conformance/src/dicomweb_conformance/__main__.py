from dicomweb_conformance.cli import main

main()
