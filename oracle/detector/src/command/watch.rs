//! `watch`: judges the connections of a Zeek `conn.log` as they were, or as they come.
//!
//! One line per alarm, a summary at the end; with JSON asked for, each of them is an object on a line of its own, because a log that is
//! followed has no end. Guarantees: a bad line costs that line only and is counted; memory is bounded whatever the log holds. Must not:
//! print who a device talked to; the connection's `uid` finds that in the sensor's own logs.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pulsegate_rules::registry::DetectorKind;

use super::choice::read_named;
use super::watched::{Detectors, Watched, Watcher};
use super::{CommandError, Console};
use crate::models;
use crate::seam::TrafficDetector;
use crate::traffic::detector::{DeepTraffic, TRAFFIC_DEVICES_MAX};
use crate::traffic::zeek::ConnLog;
use crate::unsupervised::{UNSUPERVISED_DEVICES_MAX, UnsupervisedTraffic};

/// Time between looks at a log that is followed.
const POLL: Duration = Duration::from_millis(500);

/// Committed models that judge traffic live.
const SERVED: [&str; 2] = ["traffic-serving", "traffic-unsupervised"];

/// Arguments of `watch`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Zeek's conn.log, tab-separated or JSON; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub zeek: PathBuf,
    /// A traffic model's name or file; may be given more than once [default: those that come with this program].
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Vec<String>,
    /// Go on when the log ends, as Zeek writes it and rotates it, until interrupted.
    #[arg(long)]
    pub follow: bool,
}

/// Watches.
pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), CommandError> {
    let mut watcher = Watcher::new(detectors(&args.model)?);
    if args.zeek.as_os_str() == "-" {
        drain(&mut ConnLog::new(std::io::stdin().lock()), &mut watcher, console);
    } else if args.follow {
        follow(&args.zeek, &mut watcher, console)?;
    } else {
        let file = File::open(&args.zeek).map_err(CommandError::file(&args.zeek))?;
        drain(&mut ConnLog::new(BufReader::new(file)), &mut watcher, console);
    }
    watcher.end(&args.zeek, console)
}

/// The asked-for detectors, or those that come with this program, by name.
fn detectors(asked: &[String]) -> Result<Detectors, CommandError> {
    let committed =
        || SERVED.iter().filter(|name| models::bytes(name).is_some()).map(|name| (*name).to_owned()).collect();
    let names: Vec<String> = if asked.is_empty() { committed() } else { asked.to_vec() };
    if names.is_empty() {
        return Err(CommandError::NoTrafficModels);
    }
    names.into_iter().map(|name| Ok((name.clone(), detector(&name)?))).collect()
}

fn detector(name: &str) -> Result<Box<dyn TrafficDetector>, CommandError> {
    let file = read_named(name)?;
    let unusable = |source| CommandError::ModelFile { path: PathBuf::from(name), source };
    match file.metadata.kind {
        DetectorKind::Traffic => Ok(Box::new(DeepTraffic::new(&file, TRAFFIC_DEVICES_MAX).map_err(unusable)?)),
        DetectorKind::TrafficUnsupervised => Ok(Box::new(UnsupervisedTraffic::new(&file, UNSUPERVISED_DEVICES_MAX)?)),
        _ => Err(CommandError::NotTraffic { name: name.to_owned() }),
    }
}

/// Judges all that the log holds now.
fn drain<R: BufRead>(log: &mut ConnLog<R>, watcher: &mut Watcher, console: &mut Console<'_>) {
    for connection in log {
        match connection {
            Ok(connection) => watcher.judge(&connection, |alarm| console.alarm(alarm)),
            Err(error) => watcher.bad_line(error),
        }
        if console.closed {
            return;
        }
    }
}

/// Reads on as the log grows, and from its beginning when Zeek has begun a new one under the name. Ends when nobody reads the alarms.
fn follow(path: &Path, watcher: &mut Watcher, console: &mut Console<'_>) -> Result<(), CommandError> {
    let open = || File::open(path).map_err(CommandError::file(path));
    let mut file = open()?;
    let mut log = ConnLog::following(BufReader::new(file.try_clone().map_err(CommandError::file(path))?));
    while !console.closed {
        drain(&mut log, watcher, console);
        // Between a rotation and the first new line there may be no file of the name for a while.
        if is_replaced(&file, path) {
            drain(&mut log, watcher, console);
            let Ok(newer) = open() else { continue };
            log = ConnLog::following(BufReader::new(newer.try_clone().map_err(CommandError::file(path))?));
            file = newer;
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Whether the name now means another file than the open one.
fn is_replaced(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) != (named.dev(), named.ino())
}

impl Console<'_> {
    /// An alarm, as a line; headings come before the first.
    fn alarm(&mut self, alarm: &Watched) {
        if self.json {
            return self.json_line(alarm);
        }
        if self.lines == 0 {
            self.say(Watched::headings());
        }
        self.say(alarm);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::RequestRate;
    use crate::progress::Silent;

    fn line(uid: &str, at_s: f64) -> String {
        let ends = r#""id.orig_h":"10.0.0.7","id.orig_p":1,"id.resp_h":"10.0.0.1","id.resp_p":2"#;
        format!(r#"{{"ts":{at_s},"uid":"{uid}",{ends},"proto":"tcp","conn_state":"SF","orig_bytes":1,"resp_bytes":1}}"#)
            + "\n"
    }

    /// A device that connects every ten seconds, then, from connection 30 on, every second.
    fn log(from: usize, to: usize) -> String {
        let at_s = |place: usize| if place < 30 { 10.0 * place as f64 } else { 300.0 + (place - 30) as f64 };
        (from..to).map(|place| line(&format!("C{place}"), 1_763_734_780.0 + at_s(place))).collect()
    }

    fn watcher() -> Watcher {
        Watcher::new(vec![("request-rate".to_owned(), Box::new(RequestRate::new(4)))])
    }

    /// Rotates the log at the first line that is written and closes at the first line of the new log.
    struct Reader {
        path: PathBuf,
        seen: String,
        rotated: bool,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.seen += std::str::from_utf8(bytes).expect("lines are text");
            if !self.rotated && self.seen.ends_with('\n') {
                self.rotated = true;
                std::fs::rename(&self.path, self.path.with_extension("old")).unwrap();
                std::fs::write(&self.path, log(45, 60)).unwrap();
            }
            if self.seen.contains("C50") { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_followed_log_is_read_on_after_its_rotation_until_nobody_reads_the_alarms() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conn.log");
        std::fs::write(&path, log(0, 45)).unwrap();
        let mut reader = Reader { path: path.clone(), seen: String::new(), rotated: false };
        let mut console = Console { out: &mut reader, json: false, progress: &Silent, lines: 0, closed: false };
        follow(&path, &mut watcher(), &mut console).unwrap();
        assert!(console.closed);
        let uids: Vec<&str> = reader.seen.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
        // No connection is judged twice or left out across the rotation.
        let first: usize = uids[0].trim_start_matches('C').parse().unwrap();
        let expected: Vec<String> = (first..=50).map(|place| format!("C{place}")).collect();
        assert!(first > 30 && first < 45, "{first}");
        assert_eq!(uids, expected);
    }

    #[test]
    fn a_bad_line_costs_that_line_only() {
        let text = log(0, 10) + "{not json\n" + &log(10, 20);
        let mut out = Vec::new();
        let mut console = Console { out: &mut out, json: false, progress: &Silent, lines: 0, closed: false };
        let mut watcher = watcher();
        drain(&mut ConnLog::new(text.as_bytes()), &mut watcher, &mut console);
        watcher.end(Path::new("conn.log"), &mut console).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("20 connections of 1 devices") && out.contains("1 lines were left out"), "{out}");
    }
}
