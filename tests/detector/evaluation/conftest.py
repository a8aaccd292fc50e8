"""A made-up CERT directory with an answer key: three insiders, one of them at work under another's account."""

from pathlib import Path

import pytest

INSIDERS = """dataset,scenario,details,user,start,end
4.2,1,r4.2-1-ANA0001.csv,ANA0001,07/01/2010 20:00:00,07/03/2010 02:00:00
4.2,3,r4.2-3-BOB0002.csv,BOB0002,07/05/2010 09:00:00,07/06/2010 10:00:00
3.1,1,r3.1-1-OLD0009.csv,OLD0009,07/05/2010 09:00:00,07/06/2010 10:00:00
"""
ANA = """logon,{L1},07/01/2010 20:00:00,ANA0001,PC-1,Logon
device,{D1},07/01/2010 20:10:00,ANA0001,PC-1,Connect
http,{H1},07/01/2010 23:30:00,ANA0001,PC-1,http://wikileaks.org/x,a b
http,{H2},07/03/2010 00:30:00,ANA0001,PC-1,http://wikileaks.org/y,
"""
BOB = """http,{H3},07/05/2010 09:00:00,BOB0002,PC-2,http://keylog.example/,
email,{L1},07/06/2010 10:00:00,EVE0003,PC-3,all@dtaa.com,,,Eve@dtaa.com,100,0,bye
"""


@pytest.fixture
def organisation(tmp_path: Path) -> Path:
    answers = tmp_path / "answers"
    for scenario, name, rows in ((1, "ANA0001", ANA), (3, "BOB0002", BOB)):
        folder = answers / f"r4.2-{scenario}"
        folder.mkdir(parents=True)
        (folder / f"r4.2-{scenario}-{name}.csv").write_text(rows)
    (answers / "insiders.csv").write_text(INSIDERS)
    return tmp_path
