//! Responses of stores that none of the installed ones returns.

use larder::config::{Config, Stores};
use larder::stores::s3::{Conditions, Error, Store};

use crate::support::{HttpStub, ReceivedRequest, Reply, Set, certificates, s3_error, tls_front};

async fn store_at(endpoint: &str) -> Store {
    let set = Set::shared().await;
    let mut config = Config::from_lookup(&|_| None, Stores::Embedded(set.servers().urls())).unwrap().s3;
    config.endpoint = Some(endpoint.to_owned());
    Store::new(&config)
}

async fn store_answering(answer: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static) -> (Store, HttpStub) {
    let stub = HttpStub::new(answer);
    (store_at(&stub.base).await, stub)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_region_is_reported_with_the_region_of_the_store() {
    let reported = Error::WrongRegion(Some("eu-central-1".into()));
    let header = "x-amz-bucket-region: eu-central-1\r\n";
    let body = |code: &str| format!("<Error><Code>{code}</Code><Message>wrong</Message><Region>eu-central-1</Region></Error>");
    let bodies = [
        (301, header, "PermanentRedirect", String::new()),
        (400, header, "", String::new()),
        // Only the response to a GET names the region.
        (400, "", "AuthorizationHeaderMalformed", body("AuthorizationHeaderMalformed")),
    ];
    for (status, headers, code, body) in bodies {
        let (store, _stub) = store_answering(move |request| {
            let body = if request.method == "HEAD" { "" } else { &body };
            if body.is_empty() && request.method != "HEAD" {
                return s3_error(request, status, headers, if code.is_empty() { "BadRequest" } else { code }, "wrong");
            }
            Reply::page(status, headers, body)
        })
        .await;
        assert_eq!(store.head_bucket("bucket").await, Err(reported.clone()), "{status} {code}");
        assert_eq!(store.head("bucket", "key", None).await.err(), Some(reported.clone()), "{status} {code}");
        let failed = store.check("bucket").await.unwrap_err();
        let sentence = failed.message.unwrap_or_default();
        assert!(sentence.contains("Set AWS_REGION=eu-central-1"), "{sentence}");
    }
    let (unnamed, _stub) = store_answering(|request| s3_error(request, 301, "", "PermanentRedirect", "wrong")).await;
    assert_eq!(unnamed.head_bucket("bucket").await, Err(Error::WrongRegion(None)));
    // The region is the configured one, so it is not the reason.
    let (other, _stub) = store_answering(|request| {
        Reply::page(
            400,
            "x-amz-bucket-region: us-east-1\r\n",
            if request.method == "HEAD" { "" } else { "<Error><Code>InvalidRequest</Code></Error>" },
        )
    })
    .await;
    assert!(matches!(other.head("bucket", "key", None).await, Err(Error::InvalidKey(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_not_text_or_have_the_wrong_type_do_not_hide_the_object() {
    let (store, _stub) = store_answering(|request| {
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\netag: \"e\"\r\nlast-modified: yesterday\r\n\
            x-amz-missing-meta: two\r\ncontent-language: de\r\ncontent-language: fr\r\nx-amz-storage-class: UNHEARD_OF\r\n\
            x-amz-meta-author: Ren\xe9\r\nx-amz-meta-title: =?UTF-8?Q?R=C3=A9sum=C3=A9?=\r\nx-amz-meta-plain: \xc3\xa9\r\n\r\n";
        Reply::Raw([head.as_slice(), if request.method == "HEAD" { b"" } else { b"ok" }].concat())
    })
    .await;
    let head = store.head("bucket", "key", None).await.unwrap();
    let expected = [("author", "Ren\\xe9"), ("plain", "é"), ("title", "Résumé")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((head.size, head.modified, head.metadata.as_slice()), (2, None, expected.as_slice()));
    assert_eq!(head.storage_class.as_deref(), Some("UNHEARD_OF"));
    let mut opened = store.get("bucket", "key", None, &Conditions::default()).await.unwrap();
    assert_eq!(opened.body.next().await.unwrap().unwrap(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_decoded_only_if_the_store_has_encoded_them() {
    let keys = "<Contents><Key>a+b%2Fc</Key><Size>1</Size></Contents><CommonPrefixes><Prefix>d+e%2F/</Prefix></CommonPrefixes>";
    let uploads = "<Upload><Key>a+b%2Fc</Key><UploadId>1</UploadId></Upload>";
    for (encoding, key, folder) in [("<EncodingType>url</EncodingType>", "a b/c", "d e//"), ("", "a+b%2Fc", "d+e%2F/")] {
        let (store, _stub) = store_answering(move |request| {
            let body = if request.path.contains("uploads") {
                format!("<ListMultipartUploadsResult>{encoding}{uploads}</ListMultipartUploadsResult>")
            } else {
                format!("<ListBucketResult>{encoding}{keys}</ListBucketResult>")
            };
            Reply::page(200, "content-type: application/xml\r\n", &body)
        })
        .await;
        let listing = store.list("bucket", "", true, None, 10).await.unwrap();
        assert_eq!((listing.objects[0].key.as_str(), listing.prefixes[0].as_str()), (key, folder));
        assert_eq!(store.list_multipart("bucket", None, None, 10).await.unwrap().uploads[0].key, key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_private_certificate_authority_is_trusted_by_its_file() {
    let set = Set::shared().await;
    let certified = tempfile::tempdir().unwrap();
    certificates(certified.path());
    let server = set.servers().urls().s3_endpoint.trim_start_matches("http://").to_owned();
    let port = tls_front(certified.path(), server, false).await;
    let mut config = Config::from_lookup(&|_| None, Stores::Embedded(set.servers().urls())).unwrap().s3;
    config.endpoint = Some(format!("https://localhost:{port}"));
    let untrusting = Store::new(&config);
    let Err(Error::Unreachable(why)) = untrusting.list_buckets().await else { panic!("an unknown authority is not trusted") };
    assert!(why.contains("S3_CA_FILE"), "{why}");
    let failed = untrusting.check("bucket").await.unwrap_err();
    assert!(failed.message.unwrap_or_default().contains("S3_CA_FILE"));
    config.ca_pem = Some(std::fs::read(certified.path().join("ca.pem")).unwrap());
    let trusting = Store::new(&config);
    let bucket = format!("t-{}", uuid::Uuid::now_v7().simple());
    trusting.create_bucket(&bucket).await.unwrap();
    let abilities = trusting.probe(&bucket, uuid::Uuid::now_v7()).await.unwrap();
    assert_eq!(abilities.presigned, larder::stores::s3::Ability::Yes);
}
