//! What wins, what is refused, and what is shown.

use super::*;

const PATH: &str = "/etc/shoal/config.toml";

fn flags(given: &[(&'static str, &str)]) -> BTreeMap<&'static str, Raw> {
    given.iter().map(|(key, value)| (*key, Raw::Text((*value).to_owned()))).collect()
}

fn variables(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> File<'_> {
    File { path: Path::new(PATH), text }
}

fn from_file(text: &str) -> Result<Settings, String> {
    resolve(&BTreeMap::new(), &BTreeMap::new(), Some(file(text))).map_err(|error| error.to_string())
}

fn shown(settings: &Settings, key: &str) -> Setting {
    settings.shown().into_iter().find(|setting| setting.key == key).unwrap()
}

#[test]
fn nothing_set_means_defaults() {
    let settings = resolve(&BTreeMap::new(), &BTreeMap::new(), None).unwrap();
    assert_eq!(settings, Settings::default());
    assert!(settings.shown().iter().all(|setting| setting.source == SettingSource::Default));
}

#[test]
fn flags_outrank_the_environment_and_that_the_file() {
    let text = "# ports\nquic_port = 1003\n";
    let environment = variables(&[("SHOAL_QUIC_PORT", "1002")]);
    let flags = flags(&[("quic_port", "1001")]);
    let none = BTreeMap::new();

    let by_file = resolve(&none, &BTreeMap::new(), Some(file(text))).unwrap();
    assert_eq!(by_file.quic_port, 1003);
    assert_eq!(shown(&by_file, "quic_port").source, SettingSource::File { path: PATH.into(), line: 2 });

    let by_variable = resolve(&none, &environment, Some(file(text))).unwrap();
    assert_eq!(by_variable.quic_port, 1002);
    let variable = "SHOAL_QUIC_PORT".to_owned();
    assert_eq!(shown(&by_variable, "quic_port").source, SettingSource::Environment { variable });

    let by_flag = resolve(&flags, &environment, Some(file(text))).unwrap();
    assert_eq!(by_flag.quic_port, 1001);
    assert_eq!(shown(&by_flag, "quic_port").source, SettingSource::Flag { flag: "--quic-port".to_owned() });
}

#[test]
fn every_key_is_read_from_the_file_and_shown_as_it_was_read() {
    let text = r#"
        name = "host-1"
        advertise = ["10.0.0.1", "fd00::1"]
        quic_port = 1
        wireguard_port = 5
        relay_port = 7
        key_lifetime = "1d12h"
        lease = "2h"
        vxlan_port = "65535"
        tunnel_device = "sh"
        mtu = 1280
        state_dir = "/a"
        pin_dir = "/b"
        socket = "/c"
        plugin_socket = "/d"
        docker_socket = "/e"
        log_level = "debug"
        features_off = ["map-batch", "redirect-peer", "map-batch"]
    "#;
    let settings = from_file(text).unwrap();
    let values: Vec<String> = settings.shown().into_iter().map(|setting| setting.value).collect();
    let expected = [
        "host-1",
        "10.0.0.1,fd00::1",
        "1",
        "5",
        "7",
        "1d12h",
        "2h",
        "65535",
        "sh",
        "1280",
        "/a",
        "/b",
        "/c",
        "/d",
        "/e",
        "debug",
        "redirect-peer,map-batch",
    ];
    assert_eq!(values, expected);
    assert!(settings.shown().iter().all(|setting| matches!(setting.source, SettingSource::File { .. })));
}

#[test]
fn what_is_shown_reads_back_from_the_environment() {
    let text =
        "advertise = [\"10.0.0.1\", \"fd00::1\"]\nfeatures_off = [\"map-batch\"]\nmtu = 1400\nname = \"x\"";
    let settings = from_file(text).unwrap();
    let environment = settings
        .shown()
        .into_iter()
        .map(|setting| (format!("SHOAL_{}", setting.key.to_uppercase()), setting.value))
        .collect();
    let again = resolve(&BTreeMap::new(), &environment, None).unwrap();
    let values = |settings: &Settings| settings.shown().into_iter().map(|s| s.value).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&settings));
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_its_line() {
    let table = [
        ("\nquick_port = 1", "line 2: \"quick_port\" is not a setting; the nearest is \"quic_port\""),
        (
            "[agent]\nquic_port = 1",
            "line 1: \"agent\" is not a setting; there are name, advertise, quic_port",
        ),
        ("quic_port = 0", "line 1: quic_port: 0 is not a UDP port: give a number from 1 to 65535"),
        ("quic_port = 65536", "line 1: quic_port: 65536 is not a UDP port"),
        ("quic_port = -1", "line 1: quic_port: -1 is not a UDP port"),
        ("quic_port = true", "line 1: quic_port: a boolean is given where text, a number or a list of texts"),
        ("quic_port = [\"1\"]", "line 1: quic_port: a list is not a UDP port"),
        ("mtu = 1279", "line 1: mtu: 1279 is not an MTU: give a number from 1280 to 65485"),
        ("name = 5", "line 1: name: 5 is a number where text is expected: put it in quotes"),
        ("name = \"a b\"", "line 1: name: \"a b\" cannot be a host's name: use letters"),
        ("name = [\"a\"]", "line 1: name: is a list where a single value is expected"),
        ("advertise = \"10.0.0.1, x\"", "line 1: advertise: \"x\" is not an IP address"),
        ("advertise = \"127.0.0.1\"", "line 1: advertise: 127.0.0.1 cannot be reached by another host"),
        ("advertise = [1]", "line 1: advertise: a array is given"),
        ("state_dir = \"var\"", "line 1: state_dir: \"var\" is not an absolute path: start it with \"/\""),
        ("log_level = \"loud\"", "\"loud\" is not a log level; there are error, warn, info, debug, trace"),
        (
            "features_off = \"tcx\"",
            "\"tcx\" is not a feature that can be switched off; there are redirect-peer",
        ),
        (
            "tunnel_device = \"a/b\"",
            "line 1: tunnel_device: \"a/b\" cannot begin the names of links, to which up to 6 letters are added",
        ),
        ("name = \"a\"\nname = \"b\"", "line 2: duplicate key"),
        ("name = ", "line 1: "),
    ];
    for (text, expected) in table {
        let error = from_file(text).unwrap_err();
        assert!(error.starts_with(PATH) && error.contains(expected), "{text:?} gives {error:?}");
    }
}

#[test]
fn a_wrong_value_in_the_file_is_refused_even_where_a_flag_outranks_it() {
    let outcome = resolve(&flags(&[("mtu", "1400")]), &BTreeMap::new(), Some(file("mtu = 1")));
    assert!(outcome.unwrap_err().to_string().contains("line 1: mtu: 1 is not an MTU"));
}

#[test]
fn a_wrong_flag_or_variable_is_named() {
    let error = resolve(&flags(&[("quic_port", "x")]), &BTreeMap::new(), None).unwrap_err();
    assert_eq!(error.to_string(), "--quic-port: \"x\" is not a UDP port: give a number from 1 to 65535");
    let error = resolve(&BTreeMap::new(), &variables(&[("SHOAL_MTU", "9")]), None).unwrap_err();
    assert_eq!(error.to_string(), "SHOAL_MTU: \"9\" is not an MTU: give a number from 1280 to 65485");
}

#[test]
fn two_settings_that_exclude_each_other_are_refused() {
    let error = from_file("vxlan_port = 7373").unwrap_err();
    assert_eq!(error, "quic_port and vxlan_port are both 7373: each needs a UDP port of its own");
    let error = from_file("socket = \"/run/docker.sock\"").unwrap_err();
    assert_eq!(error, "socket and docker_socket are both /run/docker.sock: they must differ");
}

#[test]
fn a_socket_s_path_must_fit_the_kernel() {
    let path = |length: usize| format!("socket = \"/{}\"", "x".repeat(length - 1));
    assert!(from_file(&path(value::SOCKET_PATH_MAX)).is_ok());
    let error = from_file(&path(value::SOCKET_PATH_MAX + 1)).unwrap_err();
    assert!(error.ends_with("the path has 107 bytes; a socket's may have 106"), "{error}");
}

#[test]
fn an_unknown_variable_is_told_and_an_empty_one_does_not_count() {
    let environment = variables(&[
        ("SHOAL_FOO", "1"),
        ("SHOAL_QUIK_PORT", "1"),
        ("SHOAL_MTU", ""),
        ("SHOAL_CONFIG", "/x"),
        ("HOME", "/"),
    ]);
    let settings = resolve(&BTreeMap::new(), &environment, None).unwrap();
    let foo = "The environment variable SHOAL_FOO is not a setting and has no effect.";
    let quik = "The environment variable SHOAL_QUIK_PORT is not a setting and has no effect; \
                    the nearest setting is SHOAL_QUIC_PORT.";
    assert_eq!(settings.notices, [foo, quik]);
    assert_eq!(settings.mtu, None);
}

#[test]
fn flags_and_helps_follow_from_the_keys() {
    let defaults = Settings::default();
    for key in KEYS {
        assert_eq!(key.flag, format!("--{}", key.name.replace('_', "-")));
        let value = (key.show)(&defaults);
        let default = if value.is_empty() { "[default: ".to_owned() } else { format!("[default: {value}]") };
        assert!(key.help.contains(&default), "{}: {default}", key.name);
    }
}

#[test]
fn every_key_is_documented_with_its_variable_and_default() {
    let page = include_str!("../../../docs/reference/configuration.md");
    let defaults = Settings::default();
    for key in KEYS {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", key.name)));
        let row = row.unwrap_or_else(|| panic!("{} has no row", key.name));
        assert!(row.contains(&format!("`{}`", key.variable())), "{row}");
        assert!(row.contains(&format!("`{}`", key.flag)), "{row}");
        assert!(row.contains(&(key.show)(&defaults)), "{row}");
    }
}
