//! `larder user`: people, from the command line. Every change is audited, as one from the console is.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;

use super::say;
use crate::app;
use crate::config::Config;
use crate::domain::actor::{Actor, Role};
use crate::domain::users::{self, NewUser};

#[derive(Subcommand)]
pub(super) enum Action {
    /// Add a person.
    Add {
        email: String,
        /// As other people see it; the part of the e-mail before the @ where it is not given.
        #[arg(long)]
        name: Option<String>,
        /// viewer sees and downloads, editor uploads and deletes, admin does everything.
        #[arg(long, default_value = "viewer", value_parser = role)]
        role: Role,
        /// Read the password from standard input, whatever that is.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set a person's password; signs them out everywhere.
    Password {
        email: String,
        /// Read the password from standard input, whatever that is.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Lock a person out at once.
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
            say(&format!("Added {} ({}), {}.", user.email, user.name, role.as_str()));
            password.tell();
        }
        Action::Password { email, password_stdin } => {
            let user = users::find_by_email(&ctx, &actor, &email).await?;
            let password = password(password_stdin).await?;
            users::set_password(&ctx, &actor, user.id, &password.value).await?;
            say(&format!("{} has a new password and is signed out everywhere.", user.email));
            password.tell();
        }
        Action::Disable { email } => {
            let user = users::find_by_email(&ctx, &actor, &email).await?;
            users::disable(&ctx, &actor, user.id).await?;
            say(&format!("{} is locked out.", user.email));
        }
    }
    Ok(())
}

struct Password {
    value: String,
    generated: bool,
}

impl Password {
    fn tell(&self) {
        if self.generated {
            say(&format!("Password: {}", self.value));
        }
    }
}

/// Asked for at a terminal, else the first line of standard input; made up where that is empty.
async fn password(whole_input: bool) -> anyhow::Result<Password> {
    let read = tokio::task::spawn_blocking(move || {
        let stdin = std::io::stdin();
        if whole_input {
            let mut text = String::new();
            stdin.lock().read_to_string(&mut text).context("standard input cannot be read")?;
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            if text.is_empty() {
                bail!("standard input holds no password");
            }
            return Ok(text);
        }
        if stdin.is_terminal() {
            return ask();
        }
        let mut line = String::new();
        stdin.lock().read_line(&mut line).context("standard input cannot be read")?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    });
    let value = read.await.context("the password could not be read")??;
    if !value.is_empty() {
        return Ok(Password { value, generated: false });
    }
    let mut random = [0_u8; 18];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow::anyhow!("no random password can be made"))?;
    Ok(Password { value: URL_SAFE_NO_PAD.encode(random), generated: true })
}

/// Without echo, by the shell, which mends the terminal even when it is interrupted.
fn ask() -> anyhow::Result<String> {
    const READ: &str = r#"trap 'stty echo' EXIT; trap 'exit 130' INT TERM; stty -echo; IFS= read -r line; printf %s "$line""#;
    drop(write!(std::io::stderr(), "Password (empty to make one up): "));
    let output = Command::new("sh").args(["-c", READ]).stdin(Stdio::inherit()).stderr(Stdio::inherit()).output();
    let output = output.context("the password cannot be asked for")?;
    drop(writeln!(std::io::stderr()));
    if !output.status.success() {
        bail!("no password was given");
    }
    String::from_utf8(output.stdout).context("the password is not UTF-8")
}
