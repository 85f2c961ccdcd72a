"""HL7 v2: messages in over MLLP and HTTP, acknowledgements, and messages out."""
