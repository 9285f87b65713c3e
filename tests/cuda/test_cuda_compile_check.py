"""The compile check: what it reads from machine code, and that it finds each fault. No GPU, no simulator.

Where numba-cuda and the assembler are installed (extra ``cudacheck``), a few kernels are compiled for real.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from kernels.cuda import compile_check

DISASSEMBLY = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/              @P0  LDG.E.128 R28, desc[UR8][R70.64] ;
        /*0020*/             @!UP1 LDS.128 R4, [R2+UR4] ;
        /*0030*/                   LDS R8, [R2] ;
        /*0040*/                   FFMA R77, R73, R100, R77 ;
        /*0050*/                   FFMA.FTZ R77, R73, R100, R77 ;
        /*0060*/                   STG.E.128 desc[UR8][R2.64], R4 ;
        /*0070*/                   DFMA R2, R4, R6, R8 ;
        /*0080*/                   F2F.F64.F32 R2, R4 ;
        /*0090*/                   STL [R1], R3 ;
        /*00a0*/                   LDG.E R3, desc[UR8][R4.64] ;
        /*00b0*/                   NOP ;
"""


def test_instructions_are_counted_by_what_they_are():
    assert compile_check.count_instructions(DISASSEMBLY) == {
        "instructions": 11, "multiply_adds": 3, "shared_128": 1, "loads_128": 1, "stores_128": 1, "loads": 2,
        "local": 1, "float64": 2}


#: What a good product kernel looks like: pixel_product with the tile 128 x 64, which has 8 x 8 outputs and steps of 8.
GOOD = {"kernel": "pixel_product_128x64_in4_out4", "type": "float32", "arch": 90, "registers": 130, "shared": 12544,
        "stack": 0, "spills": 0, "instructions": 1600, "multiply_adds": 512, "shared_128": 32, "loads_128": 3,
        "stores_128": 16, "loads": 3, "local": 0, "float64": 0}


@pytest.mark.parametrize("change, fault", [
    ({"spills": 8}, "8 bytes of spills"), ({"stack": 16}, "16 of stack"), ({"local": 2}, "2 instructions on local"),
    ({"float64": 1}, "1 float64 instructions"), ({"multiply_adds": 64}, "64 multiply-adds, expected 512"),
    ({"shared_128": 0}, "0 loads of 128 bits from shared memory, expected 32"),
    ({"loads_128": 0}, "no load of 128 bits"), ({"stores_128": 0}, "no store of 128 bits"),
])
def test_every_fault_is_found(change, fault):
    assert compile_check.faults(GOOD) == []
    found = compile_check.faults({**GOOD, **change})
    assert len(found) == 1 and fault in found[0]


def test_what_is_no_fault():
    assert compile_check.faults({**GOOD, "type": "float64", "float64": 600, "shared_128": 64}) == []
    assert compile_check.faults({**GOOD, "kernel": "square_sums", "float64": 3, "loads_128": 0}) == []
    assert compile_check.faults({**GOOD, "kernel": "pixel_product_128x64_in1_out1", "loads_128": 0,
                                 "stores_128": 0}) == []
    assert compile_check.faults({**GOOD, "kernel": "adam", "multiply_adds": 3, "shared_128": 0}) == []


def test_the_table_has_a_line_for_every_kernel_and_columns_for_every_architecture():
    rows = [{**GOOD, "arch": arch, "registers": 100 + arch} for arch in (75, 90)]
    head, _, line = compile_check.table(rows).splitlines()
    assert "sm_75" in head and "sm_90" in head
    assert line.split()[:2] == [GOOD["kernel"], "float32"] and "175" in line and "190" in line


def run(*arguments):
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
    return subprocess.run([sys.executable, "-m", "kernels.cuda.compile_check", *arguments], capture_output=True,
                          text=True, env=environment, check=False)


@pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="needs the extra cudacheck")
def test_kernels_compile(tmp_path):
    done = run("--arch", "90", "--only", "^adam|pixel_product_32x32_in4_out4$", "--keep", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 at fault" in done.stdout and list(tmp_path.glob("*adam*.sass"))
