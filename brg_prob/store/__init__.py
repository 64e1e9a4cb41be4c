"""Run folders: written whole or not at all, by one writer at a time; finished stages are found again."""

from brg_prob.store.locks import InUseError, StoreError, only_writer, real_path
from brg_prob.store.recipe import Recipe, read_recipe, restored_table
from brg_prob.store.run_folder import (
    DRAWS,
    FORMAT_VERSION,
    REPORT,
    SUMMARY,
    StoredRun,
    Written,
    check_page,
    check_target,
    read_model,
    read_run,
    read_summary,
    recover,
    replace_page,
    write_run,
)
from brg_prob.store.stages import Stages, described_stage, working
from brg_prob.store.swap import FORMAT, MODEL

__all__ = [
    "DRAWS",
    "FORMAT",
    "FORMAT_VERSION",
    "MODEL",
    "REPORT",
    "SUMMARY",
    "InUseError",
    "Recipe",
    "Stages",
    "StoreError",
    "StoredRun",
    "Written",
    "check_page",
    "check_target",
    "described_stage",
    "only_writer",
    "read_model",
    "read_recipe",
    "read_run",
    "read_summary",
    "real_path",
    "recover",
    "replace_page",
    "restored_table",
    "working",
    "write_run",
]
