//! The demo as a stranger runs it: once on a new folder, and again on what it left.

use std::process::Stdio;

use crate::support::{Running, eventually, json, pulsegate, texts};
use serde_json::Value;

fn fact<'a>(demo: &'a Value, name: &str) -> &'a Value {
    let chapters = demo["chapters"].as_array().unwrap();
    chapters
        .iter()
        .map(|chapter| &chapter["facts"][name])
        .find(|fact| !fact.is_null())
        .unwrap_or_else(|| panic!("no fact {name}"))
}

#[test]
fn the_demo_runs_and_a_second_run_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--data-dir", "demo", "--hours", "2", "--speed-up", "100000", "--seed", "7"];
    let first = json(folder.path(), &arguments);
    assert_eq!(first["ok"], true);
    assert_eq!(first["run"], 1);
    let records = fact(&first, "report")["records"].as_u64().unwrap();
    assert!(records > 100, "{records} records");

    let second = json(folder.path(), &arguments);
    assert_eq!(second["run"], 2);
    assert_eq!(second["deployment"], first["deployment"]);
    assert!(fact(&second, "began_at_ms").as_u64() > fact(&first, "began_at_ms").as_u64());
    assert!(fact(&second, "report")["records"].as_u64().unwrap() > records);
    assert!(fact(&second, "rotation")["generation"].as_u64() > fact(&first, "rotation")["generation"].as_u64());
}

#[test]
fn the_demo_tells_its_story_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let output = pulsegate(folder.path()).args(["demo", "--hours", "2", "--speed-up", "100000"]).output().unwrap();
    let (story, errors) = texts(&output);
    assert!(output.status.success(), "{story}\n{errors}");
    for word in [
        "OUTSIDE_WINDOW",
        "CATEGORY_NOT_COVERED",
        "PURPOSE_NOT_COVERED",
        "NO_GRANT",
        "REVOKED",
        "generation 1",
        "expectations, all held",
    ] {
        assert!(story.contains(word), "the story mentions {word}: {story}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "without --data-dir nothing is left");
}

#[test]
fn a_killed_demo_is_taken_up_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--data-dir", "demo", "--hours", "2"];
    let mut command = pulsegate(folder.path());
    // Slow enough to be in the middle of the stream when the agent's queue is there.
    command.args(arguments).args(["--speed-up", "500", "--json"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut killed = Running(command.spawn().unwrap());
    let changed = |path: &str| {
        let files = std::fs::read_dir(folder.path().join(path)).ok()?;
        files.filter_map(|file| file.ok()?.metadata().ok()?.modified().ok()).max()
    };
    eventually("the agent has a queue", || changed("demo/agent"));
    let begun = changed("demo/oracle");
    eventually("readings are streamed", || (changed("demo/oracle") > begun).then_some(()));
    assert!(killed.0.try_wait().unwrap().is_none(), "it is still at work");
    killed.0.kill().unwrap();
    drop(killed);
    let next = json(folder.path(), &[&arguments[..], &["--speed-up", "100000"]].concat());
    assert_eq!((next["ok"].as_bool(), next["run"].as_u64()), (Some(true), Some(2)));
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("letter.txt"), "dear").unwrap();
    crate::support::refused(folder.path(), &["demo", "--data-dir", "."], 1, "DEMO_FOLDER_UNUSABLE");
    assert_eq!(std::fs::read_to_string(folder.path().join("letter.txt")).unwrap(), "dear");
}
