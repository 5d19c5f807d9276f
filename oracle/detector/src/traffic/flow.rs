//! One connection as a sensor sums it up when it ends.
//!
//! Fields and states are those of Zeek's `conn.log` (docs.zeek.org, `base/protocols/conn/main.zeek`, `Conn::Info`), for it is the sensor
//! that hospitals have; the oracle's own listener fills the same fields. Guarantees: the codes of [`Protocol`], [`Service`] and
//! [`ConnectionState`] never change, committed weights depend on them; a flow that came through serde or passed [`Flow::check`] has only
//! finite numbers within the named limits. Must not: carry who talked to whom, or at which port.

use serde::{Deserialize, Serialize};

/// Latest start that is believed: the first moment of 2100, Unix milliseconds. One bad clock must not hold a device's history in the future.
pub const FLOW_STARTED_MAX_MS: u64 = 4_102_444_800_000;
/// Longest duration that is believed: 31 days, in milliseconds.
pub const FLOW_DURATION_MAX_MS: f64 = 31.0 * 24.0 * 3_600.0 * 1_000.0;
/// Most bytes one way that are believed: 1 PiB.
pub const FLOW_BYTES_MAX: u64 = 1 << 50;
/// Most packets one way that are believed: 2^44.
pub const FLOW_PACKETS_MAX: u64 = 1 << 44;

/// A connection, from the side of its originator (who opened it).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Flow {
    /// When the first packet was seen, Unix milliseconds; 0 where the source does not say. Zeek: `ts`.
    pub started_at_ms: u64,
    /// From the first packet to the last, milliseconds; absent when there was only one packet. Zeek: `duration`.
    pub duration_ms: Option<f64>,
    /// Transport protocol. Zeek: `proto`.
    pub protocol: Protocol,
    /// Application protocol as found by looking at it. Zeek: `service`.
    pub service: Service,
    /// How far the connection came. Zeek: `conn_state`.
    pub state: ConnectionState,
    /// Payload from originator to responder, bytes, without headers. Zeek: `orig_bytes`.
    pub bytes_sent: Option<u64>,
    /// Payload from responder to originator, bytes, without headers. Zeek: `resp_bytes`.
    pub bytes_received: Option<u64>,
    /// Packets from originator to responder. Zeek: `orig_pkts`.
    pub packets_sent: Option<u64>,
    /// Packets from responder to originator. Zeek: `resp_pkts`.
    pub packets_received: Option<u64>,
}

/// Transport protocol; the discriminant is its code in feature vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Protocol {
    /// TCP.
    Tcp = 0,
    /// UDP.
    Udp = 1,
    /// ICMP of either version.
    Icmp = 2,
    /// Anything else, or not said.
    Other = 3,
}

/// Application protocol; the discriminant is its code in feature vectors. The names are Zeek's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Service {
    /// The sensor did not find out (Zeek: `-`).
    Unknown = 0,
    /// Named by the sensor, but not in this list.
    Other = 1,
    /// Plain HTTP.
    Http = 2,
    /// TLS, whatever is inside (Zeek: `ssl`), and QUIC.
    Tls = 3,
    /// DNS.
    Dns = 4,
    /// SSH.
    Ssh = 5,
    /// FTP, control connection.
    Ftp = 6,
    /// FTP, data connection.
    FtpData = 7,
    /// SMTP.
    Smtp = 8,
    /// POP.
    Pop3 = 9,
    /// IMAP.
    Imap = 10,
    /// DHCP.
    Dhcp = 11,
    /// NTP.
    Ntp = 12,
    /// SNMP.
    Snmp = 13,
    /// RADIUS.
    Radius = 14,
    /// IRC.
    Irc = 15,
    /// Windows file sharing: SMB, DCE-RPC, NetBIOS.
    Smb = 16,
    /// Remote desktop: RDP, RFB (VNC), X11.
    Rdp = 17,
    /// Kerberos.
    Kerberos = 18,
    /// LDAP.
    Ldap = 19,
    /// MQTT.
    Mqtt = 20,
    /// Modbus, DNP3 and their like.
    Industrial = 21,
    /// SIP.
    Sip = 22,
    /// A database's own protocol: MySQL, PostgreSQL, SQL*Net.
    Database = 23,
    /// Telnet and the Berkeley r-commands: a remote shell in the clear.
    Telnet = 24,
    /// Syslog.
    Syslog = 25,
    /// DICOM or HL7 over MLLP.
    Clinical = 26,
}

/// How far a connection came, in Zeek's words; the discriminant is its code in feature vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum ConnectionState {
    /// The source does not say.
    #[serde(rename = "unknown")]
    Unknown = 0,
    /// Attempt seen, no reply.
    S0 = 1,
    /// Established, not ended.
    S1 = 2,
    /// Normally established and ended.
    SF = 3,
    /// Attempt rejected.
    #[serde(rename = "REJ")]
    Rej = 4,
    /// Established, the originator wants to close, no reply from the responder.
    S2 = 5,
    /// Established, the responder wants to close, no reply from the originator.
    S3 = 6,
    /// Established, aborted by the originator with a reset.
    #[serde(rename = "RSTO")]
    Rsto = 7,
    /// Reset by the responder.
    #[serde(rename = "RSTR")]
    Rstr = 8,
    /// The originator sent SYN, then reset; no SYN-ACK was seen.
    #[serde(rename = "RSTOS0")]
    Rstos0 = 9,
    /// The responder sent SYN-ACK, then reset; no SYN was seen.
    #[serde(rename = "RSTRH")]
    Rstrh = 10,
    /// The originator sent SYN, then FIN; no SYN-ACK was seen.
    #[serde(rename = "SH")]
    Sh = 11,
    /// The responder sent SYN-ACK, then FIN; no SYN was seen.
    #[serde(rename = "SHR")]
    Shr = 12,
    /// No SYN seen, traffic from the middle of a connection, or a protocol without connections.
    #[serde(rename = "OTH")]
    Oth = 13,
}

/// A number of a flow that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "the flow's {field} is {value}, which is not a number from 0 to {max}; the flow is left out, check the sensor that wrote it"
)]
pub struct FlowError {
    /// Which field.
    pub field: &'static str,
    /// What it said.
    pub value: f64,
    /// The most that is believed.
    pub max: f64,
}

impl FlowError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "DETECTOR_FLOW_OUT_OF_RANGE"
    }
}

impl Flow {
    /// Whether every number is finite and within its limit.
    ///
    /// # Errors
    /// [`FlowError`] for the first field that is not.
    #[expect(clippy::cast_precision_loss, reason = "only shown to a reader")]
    pub fn check(&self) -> Result<(), FlowError> {
        let duration_ms = self.duration_ms.unwrap_or(0.0);
        if !(0.0..=FLOW_DURATION_MAX_MS).contains(&duration_ms) {
            return Err(FlowError { field: "duration_ms", value: duration_ms, max: FLOW_DURATION_MAX_MS });
        }
        let counts = [
            ("started_at_ms", Some(self.started_at_ms), FLOW_STARTED_MAX_MS),
            ("bytes_sent", self.bytes_sent, FLOW_BYTES_MAX),
            ("bytes_received", self.bytes_received, FLOW_BYTES_MAX),
            ("packets_sent", self.packets_sent, FLOW_PACKETS_MAX),
            ("packets_received", self.packets_received, FLOW_PACKETS_MAX),
        ];
        let too_many = counts.into_iter().find(|(_, count, max)| count.is_some_and(|count| count > *max));
        too_many.map_or(Ok(()), |(field, count, max)| {
            Err(FlowError { field, value: count.unwrap_or(0) as f64, max: max as f64 })
        })
    }
}

impl Protocol {
    /// How many codes there are.
    pub const COUNT: usize = 4;

    /// The code in feature vectors, `0..COUNT`.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// From Zeek's `proto` or any other common spelling, in lower case; anything not known is [`Protocol::Other`].
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "tcp" => Self::Tcp,
            "udp" => Self::Udp,
            "icmp" | "icmp6" | "ipv6-icmp" => Self::Icmp,
            _ => Self::Other,
        }
    }

    /// From the number in the IP header (IANA, Assigned Internet Protocol Numbers).
    #[must_use]
    pub const fn from_ip_number(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            1 | 58 => Self::Icmp,
            _ => Self::Other,
        }
    }
}

impl Service {
    /// How many codes there are.
    pub const COUNT: usize = 27;

    /// The code in feature vectors, `0..COUNT`.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// From Zeek's `service`, in lower case. Zeek may name several, separated by commas (`gssapi,smb`), and marks one that it took back with
    /// a minus (`-ssl`): the first that is in the list counts. Empty and `-` are [`Service::Unknown`]; a name not in the list is
    /// [`Service::Other`].
    #[must_use]
    pub fn from_zeek(names: &str) -> Self {
        let found = names.split(',').map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('-'));
        found.fold(Self::Unknown, |best, name| match (best, Self::from_name(name)) {
            (Self::Unknown | Self::Other, next) => next,
            (best, _) => best,
        })
    }

    /// From one name, in lower case, as Zeek, IANA or the public data sets write it; anything not known is [`Service::Other`].
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "http" | "http_8001" => Self::Http,
            "ssl" | "tls" | "https" | "http_443" | "quic" => Self::Tls,
            "dns" | "domain" | "domain_u" => Self::Dns,
            "ssh" => Self::Ssh,
            "ftp" => Self::Ftp,
            "ftp-data" | "ftp_data" => Self::FtpData,
            "smtp" => Self::Smtp,
            "pop3" | "pop_3" | "pop_2" => Self::Pop3,
            "imap" | "imap4" => Self::Imap,
            "dhcp" => Self::Dhcp,
            "ntp" | "ntp_u" => Self::Ntp,
            "snmp" => Self::Snmp,
            "radius" => Self::Radius,
            "irc" => Self::Irc,
            "smb" | "dce_rpc" | "netbios_ns" | "netbios_dgm" | "netbios_ssn" => Self::Smb,
            "rdp" | "rfb" | "x11" => Self::Rdp,
            "krb" | "krb_tcp" => Self::Kerberos,
            "ldap" | "ldap_tcp" | "ldap_udp" => Self::Ldap,
            "mqtt" => Self::Mqtt,
            "modbus" | "dnp3" | "dnp3_tcp" | "dnp3_udp" | "enip" | "s7comm" | "bacnet" => Self::Industrial,
            "sip" => Self::Sip,
            "mysql" | "postgresql" | "sql_net" | "mongodb" | "redis" => Self::Database,
            "telnet" | "login" | "klogin" | "shell" | "kshell" | "exec" | "rlogin" | "rsh" => Self::Telnet,
            "syslog" => Self::Syslog,
            "dicom" | "hl7" | "mllp" => Self::Clinical,
            _ => Self::Other,
        }
    }

    /// What usually listens at a well-known port (IANA Service Name and Transport Protocol Port Number Registry), for sources that name no
    /// service. A port is a promise, not a finding: anyone may listen anywhere, so the caller decides whether it may be used at all.
    #[must_use]
    pub const fn from_port(port: u16) -> Self {
        match port {
            80 | 8080 => Self::Http,
            443 => Self::Tls,
            53 => Self::Dns,
            22 => Self::Ssh,
            21 => Self::Ftp,
            20 => Self::FtpData,
            25 | 587 => Self::Smtp,
            110 => Self::Pop3,
            143 => Self::Imap,
            67 | 68 => Self::Dhcp,
            123 => Self::Ntp,
            161 | 162 => Self::Snmp,
            1812 | 1813 => Self::Radius,
            194 | 6667 => Self::Irc,
            135 | 137..=139 | 445 => Self::Smb,
            3389 | 5900 => Self::Rdp,
            88 => Self::Kerberos,
            389 | 636 | 3268 | 3269 => Self::Ldap,
            1883 | 8883 => Self::Mqtt,
            102 | 502 | 20000 | 44818 | 47808 => Self::Industrial,
            5060 | 5061 => Self::Sip,
            1433 | 1521 | 3306 | 5432 => Self::Database,
            23 | 512..=513 => Self::Telnet,
            514 => Self::Syslog,
            104 | 2575 | 11112 => Self::Clinical,
            _ => Self::Unknown,
        }
    }
}

impl ConnectionState {
    /// How many codes there are.
    pub const COUNT: usize = 14;

    /// The code in feature vectors, `0..COUNT`.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// From Zeek's `conn_state`; anything else is [`ConnectionState::Unknown`].
    #[must_use]
    pub fn from_zeek(name: &str) -> Self {
        match name {
            "S0" => Self::S0,
            "S1" => Self::S1,
            "SF" => Self::SF,
            "REJ" => Self::Rej,
            "S2" => Self::S2,
            "S3" => Self::S3,
            "RSTO" => Self::Rsto,
            "RSTR" => Self::Rstr,
            "RSTOS0" => Self::Rstos0,
            "RSTRH" => Self::Rstrh,
            "SH" => Self::Sh,
            "SHR" => Self::Shr,
            "OTH" => Self::Oth,
            _ => Self::Unknown,
        }
    }

    /// Whether the attempt came to nothing: no answer, rejected, or given up before it was established. Absent when the state is unknown.
    #[must_use]
    pub const fn is_failure(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::S0 | Self::Rej | Self::Rstos0 | Self::Rstrh | Self::Sh | Self::Shr => Some(true),
            Self::S1 | Self::SF | Self::S2 | Self::S3 | Self::Rsto | Self::Rstr | Self::Oth => Some(false),
        }
    }
}

/// A flow as it is written, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    started_at_ms: u64,
    duration_ms: Option<f64>,
    protocol: Protocol,
    service: Service,
    state: ConnectionState,
    bytes_sent: Option<u64>,
    bytes_received: Option<u64>,
    packets_sent: Option<u64>,
    packets_received: Option<u64>,
}

impl TryFrom<Fields> for Flow {
    type Error = FlowError;

    fn try_from(fields: Fields) -> Result<Self, FlowError> {
        let flow = Self {
            started_at_ms: fields.started_at_ms,
            duration_ms: fields.duration_ms,
            protocol: fields.protocol,
            service: fields.service,
            state: fields.state,
            bytes_sent: fields.bytes_sent,
            bytes_received: fields.bytes_received,
            packets_sent: fields.packets_sent,
            packets_received: fields.packets_received,
        };
        flow.check().map(|()| flow)
    }
}
