//! `speakerctl` with the kubeconfig files that people have: login programs, several files in one, and somebody else's name. What
//! `kubectl` makes of the same files is asked beside it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::cluster::{Answer, Kubeconfig};
use testbed::eventually::eventually;
use testbed::lab::{Lab, LabPlan};

use crate::home::{SOON, settle};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "people_log_in_as_their_kubeconfig_files_say",
    plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(people_log_in(lab)),
}];

/// Prints what is in the file as a token.
const PROGRAM: &str = r#"printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$(cat "$TOKEN")""#;

async fn people_log_in(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    let home = Home::of(lab)?;
    eventually(SOON, "the speaker to report", async || {
        answers(&lab.speakerctl(&["peers", "n1"]).await?, Some(0), &["n1  "])
    })
    .await?;

    let login = home.file("login", &home.user(&json!({ "exec": home.exec() })))?;
    home.both(lab, &login, None).await?;
    fs::write(&home.token, "a token of yesterday")?;
    home.both(lab, &login, Some("it does not accept your credentials")).await?;
    fs::remove_file(&home.token)?;
    // `cat` failed and `printf` did not: an empty token is none.
    home.both(lab, &login, Some("it has neither a token nor a client certificate")).await?;
    fs::write(&home.token, &home.admin_token)?;

    let mut missing = home.exec();
    missing["command"] = json!("herald-has-no-such-program");
    let missing = home.file("missing", &home.user(&json!({ "exec": missing })))?;
    home.both(lab, &missing, Some("herald-has-no-such-program cannot be started")).await?;

    let contexts = json!({"contexts": [{"name": "work", "context": {"cluster": "lab", "user": "lab"}}]});
    let contexts = home.file("contexts", &contexts)?;
    let joined = format!("{}:/nonexistent/config:{}", contexts.text(), login.text());
    let joined = Kubeconfig::at(PathBuf::from(joined));
    answers(&lab.speakerctl_as(&joined, &["peers", "n1", "--context", "work"]).await?, Some(0), &["n1  "])?;
    let unknown = lab.speakerctl_as(&joined, &["peers", "--context", "home"]).await?;
    answers(&unknown, Some(1), &["no context named \"home\"", "kubectl config get-contexts"])?;

    let token = &home.admin_token;
    let jane = home.file("jane", &home.user(&json!({ "token": token, "as": "jane" })))?;
    home.both(lab, &jane, Some("you may not read speakerstates.herald-lb.io")).await?;
    let boss = json!({ "token": token, "as": "jane", "as-groups": ["system:masters"] });
    home.both(lab, &home.file("boss", &home.user(&boss))?, None).await
}

struct Home {
    folder: PathBuf,
    /// The administrator's kubeconfig.
    admin: Value,
    admin_token: String,
    /// Where the login program finds its token.
    token: PathBuf,
}

impl Home {
    fn of(lab: &Lab) -> Result<Self> {
        let admin = lab.cluster().kubeconfig();
        let folder = admin.path().parent().context("a folder of the cluster")?.join("login");
        fs::create_dir(&folder)?;
        let admin: Value = serde_json::from_str(&fs::read_to_string(admin.path())?)?;
        let admin_token =
            admin["users"][0]["user"]["token"].as_str().context("the administrator has a token")?.to_owned();
        let token = folder.join("token");
        fs::write(&token, &admin_token)?;
        Ok(Self { folder, admin, admin_token, token })
    }

    fn exec(&self) -> Value {
        json!({
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": "sh", "args": ["-c", PROGRAM], "env": [{"name": "TOKEN", "value": self.token}],
        })
    }

    /// The administrator's file with another user in it.
    fn user(&self, user: &Value) -> Value {
        let mut config = self.admin.clone();
        config["users"][0]["user"] = user.clone();
        config
    }

    fn file(&self, name: &str, config: &Value) -> Result<Kubeconfig> {
        let path = self.folder.join(name);
        fs::write(&path, config.to_string())?;
        Ok(Kubeconfig::at(path))
    }

    /// What `speakerctl` and `kubectl` say with one file: both an answer, or both a refusal, `speakerctl`'s in these words.
    async fn both(&self, lab: &Lab, who: &Kubeconfig, refusal: Option<&str>) -> Result<()> {
        let ours = lab.speakerctl_as(who, &["peers", "n1"]).await?;
        match refusal {
            None => answers(&ours, Some(0), &["n1  "])?,
            Some(words) => answers(&ours, Some(1), &[words, "hint: "])?,
        }
        let theirs = kubectl(lab, who.path()).await?;
        ensure!(theirs.accepted == refusal.is_none(), "kubectl, with {}: {}", who.text(), theirs.text);
        Ok(())
    }
}

async fn kubectl(lab: &Lab, kubeconfig: &Path) -> Result<Answer> {
    let file = format!("--kubeconfig={}", kubeconfig.display());
    lab.cluster()
        .kubectl(&["get", "speakerstates.herald-lb.io", "n1", "--namespace=metallb-system", &file])
        .await
}

fn answers(answer: &Answer, code: Option<i32>, words: &[&str]) -> Result<()> {
    ensure!(answer.code == code, "{:?}: {}", answer.code, answer.text);
    for word in words {
        ensure!(answer.text.contains(word), "{word:?} is not in: {}", answer.text);
    }
    Ok(())
}
