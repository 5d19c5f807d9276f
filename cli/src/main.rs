//! `pulsegate`: the command line of patients, practitioners, insurers, researchers and operators.
//!
//! Reads the arguments, runs one command, prints its failure if there is one, and sets the exit code: 0 done, 1 failed,
//! 2 wrong usage, 3 refused by consent, 4 a check against the chain found a fault. Only `adapters` next to this file
//! knows which chains and block stores exist.

mod actions;
mod adapters;
mod args;
mod commands;
mod config;
mod failure;
mod identity;
mod keystore;
mod moment;
mod oracle_client;
mod output;
mod passphrase;
mod presentation;
mod session;
mod typed_data;
mod wallet;

use std::process::ExitCode;

use clap::Parser;

use crate::failure::Failure;

/// The stack of the runtime's threads, bytes: the contracts pallet nests its frames deeply when compiled without optimisation.
const STACK_BYTES: usize = 16 * 1_024 * 1_024;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    // Detectors of the oracle run inside this process; a panic of theirs is contained, any other ends it.
    pulsegate_oracle::detectors::end_process_on_panic();
    let output = cli.globals.output();
    // Another part of the process may have installed a provider already; it is the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli)),
        Err(error) => Err(Failure::new("RUNTIME_UNAVAILABLE", format!("cannot start threads: {error}"))
            .next("raise this user's limit of processes (`ulimit -u`), or end other programs")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit)
        }
    }
}
