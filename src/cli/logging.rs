//! The log on standard error: lines of text, or one JSON object per line.

use std::io::Write;

use chrono::SecondsFormat;
use env_logger::{Builder, Env};

/// `RUST_LOG` sets the log level (default `info`), `LOG_FORMAT` the format.
pub fn start() {
    let mut builder = Builder::from_env(Env::default().default_filter_or("info"));
    if crate::config::logs_json() {
        builder.format(|out, record| {
            let line = json(record.level(), record.target(), &record.args().to_string());
            writeln!(out, "{line}")
        });
    }
    // Only a second call fails; the first one stays in effect.
    drop(builder.try_init());
}

fn json(level: log::Level, target: &str, message: &str) -> String {
    let time = crate::clock::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    serde_json::json!({"time": time, "level": level.as_str(), "target": target, "message": message}).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_stays_within_its_line_and_field() {
        let line = super::json(log::Level::Warn, "larder", "a \"quote\",\nand \u{1b}[31m, \\");
        assert!(!line.contains('\n') && !line.contains('\u{1b}'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a \"quote\",\nand \u{1b}[31m, \\");
        assert_eq!(value["level"], "WARN");
    }
}
