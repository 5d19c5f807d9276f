//! `cargo bench -p pulsegate-detector`: the committed models on one core, alone and in batches; the same table as `pulsegate detector bench`.
//!
//! `PULSEGATE_ONNX_PYTHON` may name a Python that has the packages of `baselines/requirements.txt`; then ONNX Runtime is in the table too.

use std::io::Write;
use std::process::ExitCode;

use pulsegate_detector::command::{BenchArgs, Command, run};

fn main() -> ExitCode {
    let onnx = std::env::var_os("PULSEGATE_ONNX_PYTHON").map(Into::into);
    let command = Command::Bench(BenchArgs { model: Vec::new(), onnx, seconds: 0.5 });
    let Err(error) = run(&command, &mut std::io::stdout().lock(), false) else { return ExitCode::SUCCESS };
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {error} [{}]", error.code());
    ExitCode::FAILURE
}
