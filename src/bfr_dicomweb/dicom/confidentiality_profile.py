"""What the Basic Application Level Confidentiality Profile does to each attribute.

Table E.1-1 of PS3.15 (2024b) gives an action for each of about six hundred attributes. Where it
leaves a choice that depends on the IOD ("X/Z", "Z/D", ...), the action here is the last of them:
it is valid in every IOD, and discloses as little. What the table does not name is decided by
`unlisted`, on the safe side.
"""

from enum import Enum
from functools import lru_cache
from typing import Final

from pydicom.datadict import get_entry

from bfr_dicomweb.dicom.part10 import LONG_VRS, SHORT_VRS


class Action(Enum):
    """PS3.15 Table E.1-1a."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    NEW_UID = "U"
    KEEP = "K"
    """As it is; of a sequence, the items are looked at."""


def _tags(text: str) -> frozenset[str]:
    """Lines of a group and the elements of it."""
    lines = (line.split() for line in text.strip().splitlines())
    return frozenset(group + element for group, *elements in lines for element in elements)


# X. Not in the table but as telling: patient groups and alternative calendars (0010,xxxx), names
# and pronouns to use, issuers and facilities of identifiers, where the object can be retrieved.
_REMOVED: Final = _tags("""
    0008 0015 0024 0025 0034 0035 0051 0054 0055 0081 0092 0094 0096 009D 0201 1000 103E 1030 1040
    0008 1041 1048 1049 1050 1052 1060 1062 1080 1084 1088 1120 1190 2111 4000
    0010 0011 0012 0013 0014 0015 0016 0021 0024 0026 0027 0032 0033 0034 0035 0041 0042 0043 0044
    0010 0045 0046 0047 0050 0101 0102 1000 1001 1002 1005 1010 1020 1030 1040 1050 1060 1080 1081
    0010 1090 1100 2000 2110 2150 2152 2154 2155 2160 2161 2162 2180 21A0 21B0 21C0 21D0 21F0
    0010 2297 2299 4000
    0012 0022 0023 0032 0041 0043 0051 0055 0071 0072 0073 0082 0086 0087
    0014 407C 407E
    0016 002B 004B 004D 004E 004F 0050 0051 0070 0071 0072 0073 0074 0075 0076 0077 0078 0079 007A
    0016 007B 007C 007D 007E 007F 0080 0081 0082 0083 0084 0085 0086 0087 0088 0089 008A 008B 008C
    0016 008D 008E
    0018 0027 0035 1004 1005 1007 1008 1009 100A 1012 1014 1042 1043 1072 1073 1078 1079 1200 1201
    0018 1202 1204 1205 4000 5011 9185 9373 937B 937F 9424 9937 A002 A003
    0020 0027 3401 3403 3405 3406 4000 9158
    0028 4000
    0032 0012 0032 0033 0034 0035 1000 1001 1010 1011 1020 1021 1030 1031 1032 1033 1034 1040 1041
    0032 1050 1051 1066 1067 1070 4000
    0038 0004 0010 0011 0014 001A 001B 001C 001D 001E 0020 0021 0030 0032 0040 0050 0060 0061 0062
    0038 0064 0300 0400 0500 4000
    003A 0329 032B
    0040 0001 0002 0003 0004 0005 0006 0007 0009 000B 0010 0011 0012 0026 0027 0241 0242 0243 0244
    0040 0245 0250 0251 0253 0254 0275 0280 0310 050A 051A 0600 0602 06FA 1001 1002 1004 1005 100A
    0040 1010 1011 1102 1103 1104 1400 2001 2004 2005 2008 2009 2010 2011 2400 3001 4005 4008 4010
    0040 4011 4025 4027 4028 4030 4034 4035 4036 4037 4050 4051 4052 A023 A024 A033 A078 A07A A07C
    0040 A110 A112 A192 A193 A307 A352 A353 A354 A358 DB06 DB07 E004 E010
    0044 0004 000B 0010 0105
    0050 001B 0020 0021
    006A 0006
    0070 0086
    0074 1234 1236
    0088 0200 0904 0906 0910 0912
    0100 0420
    0400 0310 0402 0403 0404 0550 0551 0552 0561 0600
    2030 0020
    2100 0040 0050 0070
    3002 0121 0123
    3006 0004 0006 0028 002D 002E 0038 004D 004E 0085 0088
    300A 0003 0004 000B 000E 0016 0072 00C3 00DD 0196 01A6 01B2 0216 02EB 0676 078E 0792 0794 079A
    300C 0113
    3010 0036 0037 0061 0085
    4000 0010 4000
    4008 0040 0042 0100 0101 0102 0108 0109 010A 010B 010C 0111 0112 0113 0114 0115 0118 0119
    4008 011A 0200 0202 0300 4000
    FFFA FFFA
    FFFC FFFC
""")

# Z, X/Z
_EMPTIED: Final = _tags("""
    0008 0020 0022 0030 0032 0050 0090 009C
    0010 0010 0030 0040 2203
    0012 0021 0030 0031 0050 0060
    0018 1203
    0020 0010
    0032 1060
    0040 0513 0555 0562 0610 2016 2017 A082 A088
    0400 0564
    2200 0002 0005
    3006 0008 0009 0026 00A6
    3008 0105
    300A 00B2 0611 0615 067D
    300E 0004 0005 0008
    3010 000F 0017 001B 0043 005A 005C 007A 007B 007F 0081
""")

# D, Z/D, X/D, X/Z/D. Also what the table would remove or empty although some IODs require it:
# Referenced Study Sequence, Presentation Creation Date and Time.
_REPLACED: Final = _tags("""
    0008 0012 0013 0021 0023 002A 0031 0033 0080 0082 0106 0107 1010 1070 1072 1110 1111
    0010 0020
    0012 0010 0020 0040 0042 0081
    0018 0010 1000 1030 11BB 1400 700A 700C 700E 9074 9151 9367 9369 936A 9371 9516 9517 9623 9701
    0018 9804 9919
    0034 0001 0002 0005 0007
    003A 0314
    0040 0512 0551 1101 A027 A030 A032 A073 A075 A120 A121 A122 A123 A13A A730
    0042 0011
    0044 0104
    0068 6226 6270
    006A 0005
    0070 0001 0082 0083 0084
    0072 000A 005E 005F 0061 0063 0065 0066 0068 006A 006B 006C 006D 006E 0070 0071
    0400 0105 0115 0562 0563 0565
    2100 0140
    3006 0002
    3008 0024 0025 0054 0056 0162 0164 0166 0168 0250 0251
    300A 0002 0006 0007 022C 022E 0608 0619 0623 062A 067C 0734 0736 073A 0741 0742 0760 0783
    300C 0127
    3010 002D 0033 0034 0035 0038 004C 004D 0054 0056 0077
""")

# U; and D of a UID
_NEW_UIDS: Final = _tags("""
    0008 0014 0017 0018 0019 0058 1155 1195 3010
    0018 1002 100B 2042
    0020 000D 000E 0052 0200 0242 9161 9164
    0028 1199 1214
    003A 0310
    0040 0554 4023 A124 A171 A172 A402 DB0C DB0D
    0062 0021
    0064 0003
    006A 0003
    0070 031A 1101 1102
    0088 0140
    0400 0100
    3006 0024 00C2
    300A 0013 0083 0609 0650 0700 0785
    3010 0006 000B 0013 0015 0031 003B 006E 006F
""")

# UIDs that name no one's objects: classes of objects, coding schemes and context groups.
_KEPT_UIDS: Final = _tags("""
    0008 0016 001A 0062 010C 0117 0118 1150 115A
""")

_LISTED: Final = (
    dict.fromkeys(_REMOVED, Action.REMOVE)
    | dict.fromkeys(_EMPTIED, Action.EMPTY)
    | dict.fromkeys(_REPLACED, Action.DUMMY)
    | dict.fromkeys(_NEW_UIDS, Action.NEW_UID)
    | dict.fromkeys(_KEPT_UIDS, Action.KEEP)
)
# Curves (50xx) and overlays (60xx), which may have names drawn in them.
_GRAPHICS: Final = ("50", "60")
# Of commands, files and directories, not of data sets.
_NOT_OF_DATA_SETS: Final = ("0000", "0002", "0004")
_BY_VR: Final = {
    "AE": Action.DUMMY,
    "DA": Action.DUMMY,
    "DT": Action.DUMMY,
    "PN": Action.EMPTY,
    "TM": Action.DUMMY,
    "UI": Action.NEW_UID,
    "UR": Action.DUMMY,
}

# What is in an UN may be anything, unless it is a number that is too long for its own VR.
_IN_UN: Final = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST"), Action.EMPTY),
    **dict.fromkeys(("TM", "UC", "UI", "UR", "UT"), Action.EMPTY),
    "SQ": Action.REMOVE,
}


@lru_cache(maxsize=4096)
def action(tag: str, vr: str) -> Action:
    """What is done to an attribute of the data set or of any item in it.

    Args:
        tag: Eight upper case hexadecimal digits.
        vr: As written in the data set.
    """
    listed = _LISTED.get(tag)
    return unlisted(tag, vr) if listed is None else listed


def unlisted(tag: str, vr: str) -> Action:
    """For attributes that Table E.1-1 does not name.

    Private ones go, as does what nobody knows, and a sequence that is hidden in UN. Of the
    others, those go whose VR says that they hold a name, a time or an address.
    """
    if int(tag[3], 16) % 2 or tag.endswith("0000"):
        return Action.REMOVE
    if tag.startswith((*_GRAPHICS, *_NOT_OF_DATA_SETS)):
        return Action.REMOVE
    try:
        known = str(get_entry(int(tag, 16))[0])
    except KeyError:
        return Action.REMOVE
    if vr == "UN":
        return _IN_UN.get(known, Action.KEEP)
    if vr not in LONG_VRS | SHORT_VRS:
        return Action.REMOVE
    return _BY_VR.get(vr, Action.KEEP)
