//! What the model's card says in words.

use crate::catalogue::Description;

/// The words of the card.
pub(super) fn description() -> Description {
    Description {
        title: "Traffic without labels",
        design: "An ensemble of autoencoders taught on benign flows alone, after KitNET (Mirsky, Doitshman, Elovici, Shabtai, Kitsune, NDSS \
                 2018), written from the paper. Features are normalised by quantiles of logarithms; features that move together go to one \
                 sigmoid autoencoder each (incremental correlations, average linkage, at most 20 features), taught by stochastic gradient \
                 descent one row at a time. Beside them a codebook of 256 benign kinds of flow (a vector quantiser taught online, MacQueen \
                 1967) reads the whole row. The score is the codebook's standardised log-error plus 0.3 times the members' mean. Inputs are \
                 the flow's own features of the serving schema; features that most sets do not know (all of history) are left out. What is \
                 missing is left out of input, error and teaching.",
        intended_use: "To show connections of a medical device that are unlike benign traffic, also where nobody has labelled such an attack. \
                       An alarm asks a security engineer to look; beside it stand the request-rate rule and the labelled model.",
        not_for: &[
            "blocking a device or withholding its readings",
            "telling which attack it is: it names only the feature that is strangest",
            "attacks that use connections like any other, such as a device that is flooded with ordinary requests (the request-rate rule is for \
             those) or readings that are altered in flight",
        ],
        limits: &[
            "What is normal depends on the place: taught on one set and tested on another, the areas fall (table \"From set to set\"). A \
             device's own kinds of flow are learnt for its first 256 flows, at most a day.",
            "Whoever holds a device while it is new can have up to 8 mild kinds of flow taken for normal, for that device alone; flows rarer \
             than 1 in 100,000 are never learnt, and nothing is learnt after that time.",
            "What is served (codebook or not, 20 features, 256 prototypes, the share 0.3) was chosen by trials on the same development rows, so \
             the figures are a little optimistic; what looks better in the report (the codebook alone on all sets together) was not chosen after.",
            "On three of the four sets the pooled model is behind one that was taught on that set alone (table \"Per set\"): what is strange in one place is ordinary \
             in another.",
            "A flood or scan of flows that are ordinary one by one shows only by the device's own norm, and only for a device with habits.",
            "At one false alarm per 1,000 benign flows many attacks do not show (table \"Which kinds show\"); a device with a flow a minute \
             would raise 1.4 false alarms a day.",
        ],
        calibration: "A fifth of the groups of benign rows teaches nothing and gives the share p of benign flows that score as high. The \
                      probability of an attack is taken at even odds, with density 0.1·p^(-0.9) under attack (Sellke, Bayarri, Berger 2001); \
                      the shape 0.1 is an assumption, no attack was looked at. Multiply the odds by those of the place.",
        data_folder: ".",
        data_citation: "WUSTL-EHMS-2020: Hady, Ghubaish, Salman, Unal, Jain, IEEE Access 8 (2020) 106576. CICIDS-2017, corrected: \
                        Sharafaldin, Lashkari, Ghorbani, ICISSP 2018; Liu, Engelen, Lynar, Essam, Joosen, IEEE CNS 2022. UNSW-NB15: \
                        Moustafa, Slay, MilCIS 2015. NSL-KDD: Tavallaee, Bagheri, Lu, Ghorbani, IEEE CISDA 2009.",
        data_terms: "Research use with citation; the data are not part of this project.",
        state_bytes: Some(super::DEVICE_STATE_BYTES),
    }
}
