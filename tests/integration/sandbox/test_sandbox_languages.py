"""Each language that this machine has, run natively: input, arguments, variables, files, exit code; or what is missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_execgo.core.errors import Unsupported
from pytest_execgo.plan.sandbox import LANGUAGES, ExecutionRequest, ExecutionResult, Language, SandboxConfig
from pytest_execgo.sandbox.executor import SandboxExecutor
from pytest_execgo.sandbox.native import NativeConfinement

PROGRAMS: dict[Language, str] = {
    "python": """
import os, sys
print(sys.argv[1], os.environ["GIVEN"], open("data/in.txt").read(), sys.stdin.read())
sys.exit(3)
""",
    "javascript": """
const fs = require("fs");
console.log(process.argv[2], process.env.GIVEN, fs.readFileSync("data/in.txt", "utf8"), fs.readFileSync(0, "utf8"));
process.exit(3);
""",
    "typescript": """
import * as fs from "node:fs";
const words: string[] = [process.argv[2], process.env.GIVEN as string, fs.readFileSync("data/in.txt", "utf8")];
console.log(...words, fs.readFileSync(0, "utf8"));
process.exit(3);
""",
    "go": """
package main

import ("fmt"; "io"; "os")

func main() {
    file, _ := os.ReadFile("data/in.txt")
    input, _ := io.ReadAll(os.Stdin)
    fmt.Println(os.Args[1], os.Getenv("GIVEN"), string(file), string(input))
    os.Exit(3)
}
""",
    "rust": """
use std::io::Read;

fn main() {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).unwrap();
    let file = std::fs::read_to_string("data/in.txt").unwrap();
    println!("{} {} {} {}", std::env::args().nth(1).unwrap(), std::env::var("GIVEN").unwrap(), file, input);
    std::process::exit(3);
}
""",
    "bash": 'echo "$1" "$GIVEN" "$(cat data/in.txt)" "$(cat)"; exit 3',
}
BROKEN: dict[Language, str] = {
    "python": "def f(:",
    "javascript": "function (",
    "typescript": "const x: = 1",
    "go": "package main\nfunc main() { x }",
    "rust": "fn main() { x }",
    "bash": "if then",
}


@pytest.fixture(scope="module")
def executor() -> Iterator[SandboxExecutor]:
    confinement = NativeConfinement(enabled=True)
    if (problem := confinement.problem()) is not None:
        pytest.skip(problem)
    config = SandboxConfig(mode="native", timeout=120.0, max_memory_mb=2048, max_disk_mb=512, max_cpu_percent=200)
    with SandboxExecutor(config, confinement) as one:
        yield one


def run(executor: SandboxExecutor, language: Language, code: str, **more: object) -> ExecutionResult:
    try:
        return executor.execute(ExecutionRequest.model_validate({"id": language, "language": language, "code": code, **more}))
    except Unsupported as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_has_all_that_it_was_given(executor: SandboxExecutor, language: Language) -> None:
    given = {"args": ["word"], "env_vars": {"GIVEN": "variable"}, "files": {"data/in.txt": "file"}, "stdin": "input"}
    result = run(executor, language, PROGRAMS[language], **given)
    assert (result.stdout, result.exit_code, result.error) == ("word variable file input\n", 3, None), result


@pytest.mark.parametrize("language", LANGUAGES)
def test_broken_code_fails_and_says_why(executor: SandboxExecutor, language: Language) -> None:
    result = run(executor, language, BROKEN[language])
    assert not result.success
    assert result.exit_code > 0
    assert result.stderr
    assert result.error is None
