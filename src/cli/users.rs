//! `larder user`: manages users. Every change is audited.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;

use super::print_line;
use crate::app;
use crate::config::Config;
use crate::domain::actor::{Actor, Role};
use crate::domain::users::{self, NewUser};

#[derive(Subcommand)]
pub(super) enum Action {
    /// Add a user.
    Add {
        email: String,
        /// Display name; defaults to the part of the e-mail before the @.
        #[arg(long)]
        name: Option<String>,
        /// viewer views and downloads, editor uploads and deletes, admin does everything.
        #[arg(long, default_value = "viewer", value_parser = role)]
        role: Role,
        /// Read the password from standard input, even if it is a terminal.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set a user's password and end all their sessions.
    Password {
        email: String,
        /// Read the password from standard input, even if it is a terminal.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Disable a user and end all their sessions.
    Disable { email: String },
}

fn role(name: &str) -> Result<Role, String> {
    Role::parse(name).ok_or_else(|| "one of viewer, editor, admin".into())
}

pub(super) async fn run(config: Config, action: Action) -> anyhow::Result<()> {
    let ctx = app::context(config)?;
    let actor = Actor::system("Command line");
    match action {
        Action::Add { email, name, role, password_stdin } => {
            let name = name.unwrap_or_else(|| email.split('@').next().unwrap_or_default().to_owned());
            let password = password(password_stdin).await?;
            let user = users::create(&ctx, &actor, NewUser { email: &email, name: &name, role, password: &password.value }).await?;
            print_line(&format!("Added {} ({}), {}.", user.email, user.name, role.as_str()));
            password.print();
        }
        Action::Password { email, password_stdin } => {
            let user = users::find_by_email(&ctx, &actor, &email).await?;
            let password = password(password_stdin).await?;
            users::set_password(&ctx, &actor, user.id, &password.value).await?;
            print_line(&format!("{} has a new password and is signed out everywhere.", user.email));
            password.print();
        }
        Action::Disable { email } => {
            let user = users::find_by_email(&ctx, &actor, &email).await?;
            users::disable(&ctx, &actor, user.id).await?;
            print_line(&format!("{} is disabled.", user.email));
        }
    }
    Ok(())
}

struct Password {
    value: String,
    generated: bool,
}

impl Password {
    fn print(&self) {
        if self.generated {
            print_line(&format!("Password: {}", self.value));
        }
    }
}

/// Asked for if standard input is a terminal, otherwise its first line; generated if empty.
async fn password(whole_input: bool) -> anyhow::Result<Password> {
    let read = tokio::task::spawn_blocking(move || {
        let stdin = std::io::stdin();
        if whole_input {
            let mut text = String::new();
            stdin.lock().read_to_string(&mut text).context("failed to read standard input")?;
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            if text.is_empty() {
                bail!("standard input contains no password");
            }
            return Ok(text);
        }
        if stdin.is_terminal() {
            return prompt();
        }
        let mut line = String::new();
        stdin.lock().read_line(&mut line).context("failed to read standard input")?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    });
    let value = read.await.context("the password could not be read")??;
    if !value.is_empty() {
        return Ok(Password { value, generated: false });
    }
    let mut random = [0_u8; 18];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow::anyhow!("failed to generate a password"))?;
    Ok(Password { value: URL_SAFE_NO_PAD.encode(random), generated: true })
}

/// Without echo. Uses the shell, which restores the terminal even if it is interrupted.
fn prompt() -> anyhow::Result<String> {
    const READ: &str = r#"trap 'stty echo' EXIT; trap 'exit 130' INT TERM; stty -echo; IFS= read -r line; printf %s "$line""#;
    drop(write!(std::io::stderr(), "Password (leave empty to generate one): "));
    let output = Command::new("sh").args(["-c", READ]).stdin(Stdio::inherit()).stderr(Stdio::inherit()).output();
    let output = output.context("failed to prompt for the password")?;
    drop(writeln!(std::io::stderr()));
    if !output.status.success() {
        bail!("no password was given");
    }
    String::from_utf8(output.stdout).context("the password is not UTF-8")
}
