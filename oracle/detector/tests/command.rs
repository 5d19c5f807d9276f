//! What goes wrong on the command line: every error has a stable code and says what to do next, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use pulsegate_detector::catalogue::catalogue;
use pulsegate_detector::command::{CardArgs, Command, CommandError, EvaluateArgs, TrainArgs, WatchArgs, run};
use pulsegate_detector::models;

fn ended(command: &Command) -> (Result<(), CommandError>, String) {
    let mut out = Vec::new();
    let outcome = run(command, &mut out, false);
    (outcome, String::from_utf8(out).unwrap())
}

fn failure(command: &Command) -> CommandError {
    let (outcome, out) = ended(command);
    assert_eq!(out, "", "a failed command prints no result");
    outcome.expect_err("the command must fail")
}

fn train(model: &str, data: &Path, out: &Path) -> Command {
    let (model, data, out) = (model.to_owned(), data.to_owned(), Some(out.to_owned()));
    Command::Train(TrainArgs { model, data, out, seed: 1, resume: false, epochs: Some(1) })
}

fn evaluate(model: &str, data: &Path, report: &Path, cross_validate: bool) -> Command {
    Command::Evaluate(EvaluateArgs {
        model: model.to_owned(),
        data: data.to_owned(),
        report: report.to_owned(),
        cross_validate,
        boosting: None,
        seed: 1,
        resume: false,
        epochs: Some(1),
        resamples: 10,
    })
}

fn card(model: &str, figures: Option<PathBuf>) -> Command {
    Command::Card(CardArgs { model: model.to_owned(), figures, out: None })
}

#[test]
fn an_unknown_model_is_refused_with_the_known_names() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data.csv"), folder.path().join("out"));
    for command in [
        train("traffic-misspelt", &data, &out),
        evaluate("traffic-misspelt", &data, &out, true),
        card("traffic-misspelt", None),
    ] {
        let error = failure(&command);
        assert_eq!(error.code(), "DETECTOR_UNKNOWN_MODEL");
        assert!(catalogue().iter().all(|model| error.to_string().contains(model.name())), "{error}");
    }
    assert!(!out.exists());
}

#[test]
fn a_missing_truncated_or_foreign_model_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let code = |command: &Command| failure(command).code();
    let asked = file.to_str().unwrap();
    assert_eq!(code(&card(asked, None)), "DETECTOR_FILE_UNREADABLE");
    std::fs::write(&file, b"not a model").unwrap();
    assert_eq!(code(&card(asked, None)), "MODEL_FILE_UNREADABLE");
    assert_eq!(code(&evaluate(asked, &file, folder.path(), false)), "MODEL_FILE_UNREADABLE");
    for name in models::names() {
        let bytes = models::bytes(name).unwrap();
        for length in [0, 7, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&file, &bytes[..length]).unwrap();
            let error = failure(&card(asked, None));
            assert_eq!(error.code(), "MODEL_FILE_UNREADABLE", "{name} cut to {length}: {error}");
            assert!(error.to_string().contains("train it again"), "{error}");
        }
    }
}

#[test]
fn a_model_without_weights_asks_for_training() {
    let folder = tempfile::tempdir().unwrap();
    let committed: Vec<&str> = models::names().collect();
    for model in catalogue().iter().filter(|model| !committed.contains(&model.name())) {
        let error = failure(&card(model.name(), None));
        assert_eq!(error.code(), "DETECTOR_NO_WEIGHTS");
        let error = failure(&evaluate(model.name(), folder.path(), &folder.path().join("report"), false));
        assert!(error.to_string().contains("train"), "{error}");
    }
}

/// Files that no model can be trained or judged on, and what is wrong with them.
fn unusable(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let files = [
        ("missing.csv", None, "not there"),
        ("empty.csv", Some(""), "nothing in it"),
        ("columns.csv", Some("a,b,c\n1,2,3\n4,5,6\n"), "other columns"),
        ("binary.csv.gz", Some("this is not gzip"), "not packed as its name says"),
    ];
    let write = |(name, content, what): (&str, Option<&str>, &'static str)| {
        let path = folder.join(name);
        content.inspect(|content| std::fs::write(&path, content).unwrap());
        (path, what)
    };
    files.map(write).into()
}

#[test]
fn unusable_data_is_refused_by_every_model_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let files = unusable(folder.path());
    let (out, report) = (folder.path().join("new.safetensors"), folder.path().join("report"));
    for model in catalogue() {
        for (file, what) in &files {
            for command in [train(model.name(), file, &out), evaluate(model.name(), file, &report, true)] {
                let error = failure(&command);
                assert!(error.code().starts_with("DETECTOR_"), "{}, {what}: {} {error}", model.name(), error.code());
                let file_name = file.file_name().unwrap().to_str().unwrap();
                assert!(error.to_string().contains(file_name), "{}, {what}: {error}", model.name());
            }
            let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(
                left.iter().all(|path| files.iter().any(|(file, _)| file == path)),
                "{}, {what}: {left:?}",
                model.name()
            );
        }
    }
}

#[test]
fn committed_weights_refuse_unusable_data() {
    let folder = tempfile::tempdir().unwrap();
    let files = unusable(folder.path());
    for name in models::names() {
        for (file, what) in &files {
            let error = failure(&evaluate(name, file, &folder.path().join("report"), false));
            assert!(error.code().starts_with("DETECTOR_"), "{name}, {what}: {error}");
        }
    }
}

#[test]
fn figures_of_another_model_or_no_figures_make_no_card() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("figures.json");
    for name in models::names() {
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(failure(&card(name, Some(file.clone()))).code(), "DETECTOR_FIGURES_UNREADABLE");
        let foreign = r#"{"format":1,"title":"","model":"another","model_id":null,"protocol":"","seed":1,"resamples":1,"rows":1,"views":[],
            "boosting":null,"tables":[]}"#;
        std::fs::write(&file, foreign).unwrap();
        assert_eq!(failure(&card(name, Some(file.clone()))).code(), "DETECTOR_FIGURES_FOREIGN");
    }
}

#[test]
fn every_committed_model_has_a_card_that_says_what_it_must() {
    for name in models::names() {
        let (outcome, text) = ended(&card(name, None));
        outcome.unwrap();
        for part in
            ["## Intended use", "## Not for", "## Training data", "## Limits", "## Make it again", "SHA-256", name]
        {
            assert!(text.contains(part), "{name}: {part} is not in\n{text}");
        }
    }
}

#[test]
fn watching_needs_a_known_traffic_model_and_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let watch = |zeek: PathBuf, model: &[&str]| {
        let model = model.iter().map(|name| (*name).to_owned()).collect();
        Command::Watch(WatchArgs { zeek, model, follow: false })
    };
    let log = folder.path().join("conn.log");
    assert_eq!(failure(&watch(log.clone(), &["traffic-misspelt"])).code(), "DETECTOR_UNKNOWN_MODEL");
    for name in models::names().filter(|name| *name == "traffic-serving") {
        assert_eq!(failure(&watch(log.clone(), &[name])).code(), "DETECTOR_FILE_UNREADABLE");
        std::fs::write(&log, "").unwrap();
        assert_eq!(failure(&watch(log.clone(), &[name])).code(), "DETECTOR_NO_CONNECTIONS");
        std::fs::write(&log, "this is no log\n").unwrap();
        let error = failure(&watch(log.clone(), &[name]));
        assert_eq!(error.code(), "ZEEK_HEADER_MISSING");
        assert!(error.to_string().contains("conn.log"), "{error}");
    }
    for name in models::names().filter(|name| ["ecg-beats", "vital-signs"].contains(name)) {
        assert_eq!(failure(&watch(log.clone(), &[name])).code(), "DETECTOR_NOT_TRAFFIC", "{name}");
    }
    for name in models::names().filter(|name| ["traffic-nsl-kdd", "traffic-cicids2017"].contains(name)) {
        assert_eq!(failure(&watch(log.clone(), &[name])).code(), "MODEL_FILE_FOREIGN", "{name}");
    }
}

#[test]
fn a_log_is_judged_by_the_models_that_come_with_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("conn.log");
    let line = |place: u32| {
        format!(
            "{{\"ts\":{},\"uid\":\"C{place}\",\"id.orig_h\":\"10.0.0.{}\",\"id.orig_p\":1,\"id.resp_h\":\"10.0.0.1\",\"id.resp_p\":443,\
             \"proto\":\"tcp\",\"service\":\"ssl\",\"duration\":0.2,\"orig_bytes\":900,\"resp_bytes\":400,\"conn_state\":\"SF\",\
             \"orig_pkts\":9,\"resp_pkts\":8}}\n",
            1_763_734_780 + place * 30,
            7 + place % 3
        )
    };
    std::fs::write(&log, (0..60).map(line).collect::<String>()).unwrap();
    let (outcome, text) = ended(&Command::Watch(WatchArgs { zeek: log, model: Vec::new(), follow: false }));
    outcome.unwrap();
    assert!(text.contains("60 connections of 3 devices"), "{text}");
    assert!(text.contains("traffic-serving") && text.contains("traffic-unsupervised"), "{text}");
}
