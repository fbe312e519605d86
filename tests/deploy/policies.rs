//! The policies for the object store allow all requests of Larder and nothing else. MinIO evaluates them.

use std::collections::BTreeSet;
use std::path::Path;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::BucketVersioningStatus;
use bytes::Bytes;
use larder::config::{S3Config, Secret};
use larder::domain::abilities::{self, Ability};
use larder::domain::actor::Role;
use larder::stores::s3::{Conditions, Error, Part, PutOptions, Store, Versioning};
use serde_json::Value;

use crate::containers::file;
use crate::support::{Set, TestApp, eventually};

const POLICIES: [&str; 2] = ["deploy/aws/policy.json", "deploy/minio/policy.json"];
/// The bucket that is named in the policies.
const BUCKET: &str = "sme-files";

fn policy(path: &str) -> Value {
    serde_json::from_str(&file(path)).unwrap()
}

fn words(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap())
}

fn actions(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    statements.flat_map(|statement| words(&statement["Action"]).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The requests of the S3 client, and the actions that AWS requires for each.
const ASKS: [(&str, &str); 25] = [
    ("abort_multipart_upload", "s3:AbortMultipartUpload"),
    ("complete_multipart_upload", "s3:PutObject"),
    ("create_bucket", "s3:CreateBucket"),
    ("create_multipart_upload", "s3:PutObject"),
    ("delete_bucket", "s3:DeleteBucket"),
    ("delete_object", "s3:DeleteObject"),
    ("get_bucket_cors", "s3:GetBucketCORS"),
    ("get_bucket_lifecycle_configuration", "s3:GetLifecycleConfiguration"),
    ("get_bucket_policy", "s3:GetBucketPolicy"),
    ("get_bucket_versioning", "s3:GetBucketVersioning"),
    ("get_object", "s3:GetObject"),
    ("get_object_lock_configuration", "s3:GetBucketObjectLockConfiguration"),
    ("get_object_tagging", "s3:GetObjectTagging"),
    ("head_bucket", "s3:ListBucket"),
    ("head_object", "s3:GetObject"),
    ("list_buckets", "s3:ListAllMyBuckets"),
    ("list_multipart_uploads", "s3:ListBucketMultipartUploads"),
    ("list_object_versions", "s3:ListBucketVersions"),
    ("list_objects_v2", "s3:ListBucket"),
    ("list_parts", "s3:ListMultipartUploadParts"),
    ("put_object", "s3:PutObject"),
    ("put_object_tagging", "s3:PutObjectTagging"),
    ("upload_part", "s3:PutObject"),
    // With a version.
    ("delete_object", "s3:DeleteObjectVersion"),
    ("get_object", "s3:GetObjectVersion"),
];

/// Every request in the code: `client.<request>()` or `client().await?.<request>()`, also if it is split over lines.
fn requests(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            requests(&path, found);
            continue;
        }
        let code: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
        for client in ["client.", "client().await?.", "public.", "anonymous()."] {
            for (at, _) in code.match_indices(client) {
                let rest = &code[at + client.len()..];
                let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_' || c.is_ascii_digit()).collect();
                if rest[name.len()..].starts_with("()") {
                    found.insert(name);
                }
            }
        }
    }
}

#[test]
fn the_policies_allow_exactly_the_requests_in_the_code() {
    let mut asked = BTreeSet::new();
    requests(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stores/s3"), &mut asked);
    assert_eq!(asked, ASKS.iter().map(|(request, _)| (*request).to_owned()).collect::<BTreeSet<_>>());
    let wanted: BTreeSet<String> = ASKS.iter().map(|(_, action)| (*action).to_owned()).collect();
    assert_eq!(actions(&policy(POLICIES[0])), wanted);
    // MinIO lists the buckets of a key without this permission.
    let minio = wanted.iter().filter(|action| *action != "s3:ListAllMyBuckets").map(|action| as_minio_writes(action));
    assert_eq!(actions(&policy(POLICIES[1])), minio.collect());
    for path in POLICIES {
        for statement in policy(path)["Statement"].as_array().unwrap() {
            assert_eq!(statement["Effect"], "Allow", "{path}");
            for resource in words(&statement["Resource"]) {
                let of_all = resource == "*" && words(&statement["Action"]).eq(["s3:ListAllMyBuckets"]);
                assert!(of_all || resource.starts_with(&format!("arn:aws:s3:::{BUCKET}")), "{path}: {resource}");
            }
        }
    }
}

#[test]
fn the_bucket_policy_denies_unencrypted_requests() {
    let policy = policy("deploy/aws/bucket-policy.json");
    let statement = &policy["Statement"][0];
    assert_eq!((&statement["Effect"], &statement["Principal"], &statement["Action"]), (&"Deny".into(), &"*".into(), &"s3:*".into()));
    assert_eq!(statement["Condition"]["Bool"]["aws:SecureTransport"], "false");
    let encryption: Value = serde_json::from_str(&file("deploy/aws/encryption.json")).unwrap();
    assert_eq!(encryption["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"], "aws:kms");
    let both = [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")];
    assert!(policy["Statement"].as_array().unwrap().iter().all(|statement| words(&statement["Resource"]).eq(both.iter())));
}

/// The policy for another bucket, in one line, without the optional statements.
fn document(path: &str, bucket: &str, optional: bool) -> String {
    let mut policy: Value = serde_json::from_str(&file(path).replace(BUCKET, bucket)).unwrap();
    policy["Statement"].as_array_mut().unwrap().retain(|one| optional || !one["Sid"].as_str().unwrap().starts_with("Optional"));
    as_minio_writes(&policy.to_string())
}

/// AWS ignores the case of actions.
fn as_minio_writes(text: &str) -> String {
    text.replace("GetBucketCORS", "GetBucketCors")
}

/// A key that is valid for an hour and has the permissions of the document. It is created with MinIO's AssumeRole,
/// through curl, which can sign requests.
fn key_with(root: &S3Config, document: &str) -> S3Config {
    let endpoint = root.endpoint.clone().unwrap();
    let answer = std::process::Command::new("curl")
        .args(["-sS", "--fail-with-body", "--aws-sigv4", "aws:amz:us-east-1:sts"])
        .args(["--user", &format!("{}:{}", root.access_key_id, root.secret_access_key.reveal())])
        .args(["-d", "Action=AssumeRole", "-d", "Version=2011-06-15", "-d", "DurationSeconds=3600"])
        .args(["--data-urlencode", &format!("Policy={document}"), &endpoint])
        .output()
        .unwrap();
    let text = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.status.success(), "{text} {}", String::from_utf8_lossy(&answer.stderr));
    let of = |name: &str| {
        let rest = text.split_once(&format!("<{name}>")).unwrap().1;
        rest.split_once('<').unwrap().0.to_owned()
    };
    S3Config {
        access_key_id: of("AccessKeyId"),
        secret_access_key: Secret::new(of("SecretAccessKey")),
        session_token: Some(Secret::new(of("SessionToken"))),
        ..root.clone()
    }
}

/// For requests that Larder itself never sends.
fn client(key: &S3Config) -> aws_sdk_s3::Client {
    let token = key.session_token.as_ref().map(|token| token.reveal().to_owned());
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(key.endpoint.clone().unwrap())
        .force_path_style(true)
        .credentials_provider(Credentials::new(&key.access_key_id, key.secret_access_key.reveal(), token, None, "test"));
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Only with LARDER_TEST_S3=minio, because SeaweedFS has no policies.
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_gives_access_to_one_bucket_only() {
    if Set::is_seaweedfs() {
        eprintln!("SKIPPED: SeaweedFS has no policies. Run with LARDER_TEST_S3=minio");
        return;
    }
    for path in POLICIES {
        let (mine, other) = (format!("t-{}", uuid::Uuid::now_v7().simple()), format!("t-{}", uuid::Uuid::now_v7().simple()));
        let (bucket, foreign) = (mine.clone(), other.clone());
        let app = TestApp::on(Set::shared().await, move |config| {
            let root = config.s3.clone();
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    let store = Store::new(&root);
                    store.create_bucket(&bucket).await.unwrap();
                    store.create_bucket(&foreign).await.unwrap();
                });
            });
            config.s3 = S3Config { buckets: vec![bucket.clone()], ..key_with(&root, &document(path, &bucket, false)) };
        })
        .await;
        let key = app.ctx.config.s3.clone();
        eventually("the store has been probed", async || abilities::known(&app.ctx).await.is_some()).await;
        let found = abilities::known(&app.ctx).await.unwrap().abilities;
        for ability in [&found.put_if_absent, &found.complete_if_absent, &found.checksums, &found.range, &found.presigned, &found.tagging] {
            assert_eq!(ability, &Ability::Yes, "{path}: {found:?}");
        }
        assert!(app.ctx.s3.list(&mine, "", false, None, 10).await.unwrap().objects.is_empty(), "the probe has swept");

        let editor = app.sign_in(Role::Editor).await;
        editor.upload(&mine, "small.txt", "small").await.expect_status(303);
        editor.upload(&mine, "large.bin", vec![7_u8; 20 << 20]).await.expect_status(303);
        assert_eq!(editor.get(&format!("/buckets/{mine}/download?key=large.bin")).await.expect_status(200).body.len(), 20 << 20);
        for page in [format!("/buckets/{mine}"), format!("/buckets/{mine}/settings"), format!("/buckets/{mine}/object?key=small.txt")] {
            editor.get(&page).await.expect_status(200);
        }
        editor.get(&format!("/buckets/{mine}/unfinished")).await.expect_status(200);
        let etag = app.ctx.s3.head(&mine, "small.txt", None).await.unwrap().etag;
        app.ctx.s3.delete_if(&mine, "small.txt", &etag).await.unwrap();

        let text = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
        let store = &app.ctx.s3;
        assert_eq!(store.put(&other, "a", Bytes::from_static(b"x"), &text).await, Err(Error::AccessDenied));
        assert_eq!(store.list(&other, "", false, None, 1).await.err(), Some(Error::AccessDenied));
        assert_eq!(store.head(&other, "a", None).await.err(), Some(Error::AccessDenied));
        assert_eq!(store.create_bucket(&format!("{other}-2")).await, Err(Error::AccessDenied));
        assert_eq!(store.delete_bucket(&mine).await, Err(Error::BucketNotEmpty));
        if path == POLICIES[1] {
            let seen: Vec<String> = store.list_buckets().await.unwrap().into_iter().map(|entry| entry.name).collect();
            assert_eq!(seen, [mine.as_str()]);
        }
        let client = client(&key);
        let open = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::B/*"}]}"#;
        client.put_bucket_policy().bucket(&mine).policy(open.replace('B', &mine)).send().await.unwrap_err();
        client.get_bucket_policy().bucket(&mine).send().await.unwrap_err();
        let tags = aws_sdk_s3::types::Tag::builder().key("k").value("v").build().unwrap();
        let tags = aws_sdk_s3::types::Tagging::builder().tag_set(tags).build().unwrap();
        client.put_object_tagging().bucket(&mine).key("large.bin").tagging(tags).send().await.unwrap_err();
        let etag = store.head(&mine, "large.bin", None).await.unwrap().etag;
        store.delete_if(&mine, "large.bin", &etag).await.unwrap();
        assert_eq!(store.delete_bucket(&mine).await, Err(Error::AccessDenied));

        // With the optional statements it can also create and delete that bucket.
        let larger = Store::new(&key_with(&root(&app).await, &document(path, &mine, true)));
        larger.delete_bucket(&mine).await.unwrap();
        larger.create_bucket(&mine).await.unwrap();
        assert_eq!(larger.create_bucket(&format!("{other}-2")).await, Err(Error::AccessDenied));
        parts_and_versions(&app, &mine).await;
    }
}

/// Requests that an empty bucket without versions does not cause.
async fn parts_and_versions(app: &TestApp, bucket: &str) {
    let text = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
    let store = &app.ctx.s3;
    let upload = store.create_multipart(bucket, "open", &text).await.unwrap();
    let part = Part { number: 1, body: Bytes::from_static(b"part") };
    store.put_part(bucket, "open", &upload, part).await.unwrap();
    assert_eq!(store.list_multipart(bucket, Some("open"), None, 10).await.unwrap().uploads.len(), 1);
    assert_eq!(store.list_parts(bucket, "open", &upload, None, 10).await.unwrap().parts.len(), 1);
    store.abort_multipart(bucket, "open", &upload).await.unwrap();

    let on = BucketVersioningStatus::Enabled;
    let on = aws_sdk_s3::types::VersioningConfiguration::builder().status(on).build();
    client(&root(app).await).put_bucket_versioning().bucket(bucket).versioning_configuration(on).send().await.unwrap();
    assert_eq!(store.versioning(bucket).await, Ok(Versioning::On));
    let first = store.put(bucket, "k", Bytes::from_static(b"first"), &text).await.unwrap();
    store.put(bucket, "k", Bytes::from_static(b"second"), &text).await.unwrap();
    let mut old = store.get(bucket, "k", first.version_id.as_deref(), &Conditions::default()).await.unwrap();
    assert_eq!(old.body.next().await.unwrap().unwrap(), "first");
    let versions = client(&app.ctx.config.s3).list_object_versions().bucket(bucket).send().await.unwrap();
    assert_eq!(versions.versions().len(), 2);
    let off = aws_sdk_s3::types::VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    client(&app.ctx.config.s3).put_bucket_versioning().bucket(bucket).versioning_configuration(off).send().await.unwrap_err();
}

async fn root(app: &TestApp) -> S3Config {
    let urls = app.servers().urls();
    S3Config {
        access_key_id: urls.s3_access_key_id.clone(),
        secret_access_key: Secret::new(urls.s3_secret_access_key.clone()),
        session_token: None,
        ..app.ctx.config.s3.clone()
    }
}
