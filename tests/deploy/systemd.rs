//! The systemd units start existing programs in a restricted environment.

use std::collections::BTreeMap;
use std::process::Command;

use crate::containers::file;

const UNITS: [&str; 2] = ["larder.service", "larder-migrate.service"];

fn unit(name: &str) -> String {
    file(&format!("deploy/systemd/{name}"))
}

/// The settings of `[Service]`. A setting that occurs twice has both values.
fn settings(name: &str) -> BTreeMap<String, Vec<String>> {
    let text = unit(name);
    let section = text.split_once("[Service]").unwrap().1.split("\n[").next().unwrap();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in section.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
        found.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    found
}

fn one(settings: &BTreeMap<String, Vec<String>>, key: &str) -> String {
    assert_eq!(settings[key].len(), 1, "{key}");
    settings[key][0].clone()
}

#[test]
fn the_units_start_existing_programs_and_wait_for_an_orderly_stop() {
    let (serve, migrate) = (settings(UNITS[0]), settings(UNITS[1]));
    assert_eq!(one(&serve, "ExecStart"), "/usr/local/bin/larder serve");
    assert_eq!(one(&migrate, "ExecStart"), "/usr/local/bin/larder migrate");
    assert!(unit(UNITS[0]).contains("Requires=larder-migrate.service") && one(&migrate, "Type") == "oneshot");
    assert!(one(&serve, "TimeoutStopSec").parse::<u32>().unwrap() > 30);
    let known = file("README.md");
    for pair in one(&serve, "Environment").split(' ').chain(one(&migrate, "Environment").split(' ')) {
        let (name, _) = pair.split_once('=').unwrap();
        assert!(known.contains(&format!("`{name}`")), "{name} is known to nobody");
        assert!(!["URL", "KEY", "TOKEN", "PASSWORD"].iter().any(|end| name.ends_with(end)), "{name} belongs into the file");
    }
    assert!(one(&serve, "Environment").contains("MIGRATE_ON_START=false"));
    assert_eq!(serve["EnvironmentFile"], migrate["EnvironmentFile"][..1]);
}

#[test]
fn both_units_have_the_same_restrictions() {
    let both = UNITS.map(settings);
    let room = |settings: &BTreeMap<String, Vec<String>>| {
        let own = ["ExecStart", "Environment", "EnvironmentFile", "Type", "TimeoutStartSec", "TimeoutStopSec", "Restart", "RestartSec"];
        let own = own.into_iter().chain(["KillMode", "LimitNOFILE", "MemoryHigh", "MemoryMax", "TasksMax", "OOMPolicy"]);
        let own: Vec<&str> = own.collect();
        settings.clone().into_iter().filter(|(key, _)| !own.contains(&key.as_str())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(room(&both[0]), room(&both[1]));
    for (key, value) in [("DynamicUser", "yes"), ("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("CapabilityBoundingSet", "")] {
        assert_eq!(one(&both[0], key), value, "{key}");
    }
    assert!(both.iter().all(|settings| settings.contains_key("MemoryMax")));
}

/// `systemd 252 (252.39)`
fn version() -> Option<u32> {
    let said = Command::new("systemd-analyze").arg("--version").output().ok()?;
    String::from_utf8_lossy(&said.stdout).split_whitespace().nth(1)?.parse().ok()
}

/// If systemd is installed on this machine: it knows every setting, and rates how exposed a service is, from 0 to 10.
#[test]
fn systemd_accepts_the_units_and_rates_their_exposure_as_low() {
    // Older versions only check installed units.
    if version().is_none_or(|version| version < 250) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for name in UNITS {
        std::fs::write(directory.path().join(name), unit(name).replace("/usr/local/bin/larder", env!("CARGO_BIN_EXE_larder"))).unwrap();
    }
    let ask = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(arguments).args(UNITS.map(|name| format!("./{name}"))).current_dir(directory.path()).output().unwrap();
        (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    let (fine, said) = ask(&["--man=no", "verify"]);
    // Messages about other units of the machine are ignored.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("larder")).collect();
    assert!(fine && ours.is_empty(), "{said}");
    let (fine, said) = ask(&["--offline=true", "--threshold=15", "--no-pager", "security"]);
    assert!(fine, "{said}");
}
