//! The beat finder on the records of the MIT-BIH Arrhythmia Database (where `PULSEGATE_DATA` names a folder with `mitdb/records`) and on
//! made-up signals.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use pulsegate_detector::ecg::{BeatFinder, ECG_HZ, FinderScore, LEARNING_SAMPLES, Resampler, score_finder};
use pulsegate_wfdb::{Lead, Symbol, read_annotations};

/// Four paced records are left out, as EC57 says.
const PACED: [&str; 4] = ["102", "104", "107", "217"];

fn records() -> Option<Vec<PathBuf>> {
    let Some(data) = std::env::var_os("PULSEGATE_DATA") else {
        eprintln!("left out: PULSEGATE_DATA names no folder with mitdb/records");
        return None;
    };
    let folder = PathBuf::from(data).join("mitdb/records");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "hea"));
    found.retain(|path| !PACED.contains(&path.file_stem().unwrap().to_str().unwrap()));
    found.sort();
    Some(found)
}

fn find(samples: impl IntoIterator<Item = f32>) -> Vec<u64> {
    let mut finder = BeatFinder::new();
    let mut found: Vec<u64> = samples.into_iter().filter_map(|sample| finder.push(sample)).collect();
    found.extend(std::iter::from_fn(|| finder.finish()));
    found
}

#[test]
fn beats_of_the_recorded_patients_are_found() {
    let Some(records) = records() else { return };
    let mut all = FinderScore::default();
    for header in &records {
        let lead = Lead::read(header, "MLII").unwrap();
        let annotations = read_annotations(&header.with_extension("atr")).unwrap();
        let place = |sample: i64| u64::try_from(sample).unwrap();
        let beats: Vec<u64> =
            annotations.iter().filter(|found| found.symbol.is_beat()).map(|found| place(found.sample)).collect();
        let of = |symbol: Symbol| {
            annotations.iter().filter(move |found| found.symbol == symbol).map(|found| place(found.sample))
        };
        let flutter: Vec<(u64, u64)> = of(Symbol::FLUTTER_START).zip(of(Symbol::FLUTTER_END)).collect();
        let score = score_finder(&beats, &find(lead.millivolts()), &flutter, LEARNING_SAMPLES);
        let (mean_ms, deviation_ms) = score.offset_ms();
        let (sensitivity, predictivity) = (score.sensitivity() * 100.0, score.predictivity() * 100.0);
        let name = header.file_stem().unwrap().display();
        eprintln!("{name}: Se {sensitivity:.2} +P {predictivity:.2}, {mean_ms:.1} ± {deviation_ms:.1} ms, {score:?}");
        all = all.and(score);
    }
    eprintln!("all: Se {:.3} +P {:.3} {all:?}", all.sensitivity() * 100.0, all.predictivity() * 100.0);
    assert!(all.sensitivity() >= 0.995 && all.predictivity() >= 0.995);
}

/// Spikes of 1 mV, 20 ms wide, every 0.8 s, on a slow wave, at a sampling rate.
fn spikes(source_hz: f64, seconds: f64) -> Vec<f32> {
    let value = |at: usize| {
        let time_s = at as f64 / source_hz;
        let since_s = (time_s - 0.4).rem_euclid(0.8).min(0.8 - (time_s - 0.4).rem_euclid(0.8));
        (0.2 * (time_s * 2.0).sin() + (-(since_s / 0.012).powi(2)).exp()) as f32
    };
    (0..(seconds * source_hz) as usize).map(value).collect()
}

#[test]
fn spikes_are_found_at_any_sampling_rate_to_ten_milliseconds() {
    for source_hz in [125.0, 250.0, 360.0, 500.0] {
        let mut resampler = Resampler::new(source_hz).unwrap();
        let mut working = Vec::new();
        spikes(source_hz, 60.0).into_iter().for_each(|sample| resampler.push(sample, |sample| working.push(sample)));
        let found = find(working);
        assert!((74..=75).contains(&found.len()), "{source_hz}: {}", found.len());
        for place in found {
            let beats = (place as f64 / ECG_HZ - 0.4) / 0.8;
            assert!((beats - beats.round()).abs() * 0.8 < 0.01, "{source_hz}: {place}");
        }
    }
}

#[test]
fn a_flat_line_and_noise_below_the_floor_hold_no_beat() {
    assert!(find(std::iter::repeat_n(0.0, 40_000)).is_empty());
    let mut seed = 7_u32;
    let noise = (0..40_000).map(|_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(seed >> 8) / f64::from(1 << 24)) as f32 * 0.02
    });
    assert!(find(noise).is_empty());
}

#[test]
fn a_gain_that_falls_to_a_quarter_loses_beats_for_a_few_seconds_only() {
    let mut samples = spikes(360.0, 60.0);
    samples.iter_mut().skip(30 * 360).for_each(|sample| *sample *= 0.25);
    let late = find(samples).into_iter().filter(|place| *place > 40 * 360).count();
    assert!((24..=25).contains(&late), "{late}");
}
