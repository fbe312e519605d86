//! Qdrant. Each request of the client is validated against the models that Qdrant generates from its OpenAPI
//! document, and answered by Qdrant's own stub of the server: see `tests/support/qdrant.py`. With `QDRANT_TEST_URL`
//! (and `QDRANT_TEST_API_KEY`) the same scenario runs against a real server.

use std::io::Write;

use larder::config::Secret;
use larder::stores::connect_error::ErrorClass;
use larder::stores::qdrant::{Distance, Error, Hit, Point, PointId, Qdrant, Status, Vectors};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::{HttpStub, QDRANT_KEY, Reply, qdrant};

async fn stub() -> Qdrant {
    Qdrant::new(&qdrant().await.base, Some(&Secret::new(QDRANT_KEY))).unwrap()
}

fn new_name() -> String {
    format!("larder-test-{}", Uuid::now_v7().simple())
}

fn point(id: PointId, vector: [f32; 3], payload: Value) -> Point {
    let Value::Object(payload) = payload else { panic!("{payload} is no payload") };
    Point { id, vector: vector.to_vec(), payload }
}

fn ids(hits: &[Hit]) -> Vec<PointId> {
    hits.iter().map(|hit| hit.id).collect()
}

/// Uses everything that the client can do, from creating a collection to deleting it.
async fn scenario(qdrant: &Qdrant) {
    qdrant.ready().await.unwrap();
    assert!(qdrant.version().await.unwrap().starts_with("1."));
    let name = new_name();
    assert!(!qdrant.collection_exists(&name).await.unwrap());
    assert!(matches!(qdrant.collection(&name).await, Err(Error::NotFound(why)) if why.contains(&name)));

    qdrant.create_collection(&name, 3, Distance::Cosine).await.unwrap();
    assert!(matches!(qdrant.create_collection(&name, 3, Distance::Dot).await, Err(Error::Conflict(_))));
    assert!(qdrant.collection_exists(&name).await.unwrap());
    assert!(qdrant.collections().await.unwrap().contains(&name));
    assert_eq!(qdrant.search(&name, &[1.0, 0.0, 0.0], None, 10).await.unwrap(), []);

    let (number, unique) = (PointId::Number(u64::from(u32::MAX) + 1), PointId::Uuid(Uuid::now_v7()));
    let invoice = json!({"kind": "invoice", "pages": [1, 2], "name": "Grüße \"1\""});
    let points = [
        point(number, [1.0, 0.1, 0.0], invoice.clone()),
        point(unique, [0.7, 0.7, 0.0], json!({"kind": "letter"})),
        point(PointId::Number(0), [0.0, -0.25, 1.0], json!({})),
    ];
    qdrant.upsert(&name, &points).await.unwrap();
    let collection = qdrant.collection(&name).await.unwrap();
    assert!(matches!(collection.status, Status::Green | Status::Yellow | Status::Grey), "{collection:?}");
    assert_eq!((collection.points, collection.optimizer_error), (Some(3), None));
    assert_eq!(collection.vectors, [Vectors { name: String::new(), size: 3, distance: Distance::Cosine }]);

    let found = qdrant.search(&name, &[1.0, 0.0, 0.0], None, 10).await.unwrap();
    assert_eq!(ids(&found), [number, unique, PointId::Number(0)], "best first");
    assert!((found[0].score - 0.995).abs() < 0.001, "{}", found[0].score);
    assert_eq!(Value::Object(found[0].payload.clone()), invoice);
    assert_eq!(found[2].payload, Map::new());
    assert_eq!(ids(&qdrant.search(&name, &[0.0, 0.0, 1.0], None, 1).await.unwrap()), [PointId::Number(0)]);
    let letters = json!({"must": [{"key": "kind", "match": {"value": "letter"}}]});
    assert_eq!(ids(&qdrant.search(&name, &[1.0, 0.0, 0.0], Some(&letters), 10).await.unwrap()), [unique]);

    qdrant.upsert(&name, &[point(number, [0.0, 1.0, 0.0], json!({"kind": "letter"}))]).await.unwrap();
    assert_eq!(qdrant.search(&name, &[1.0, 0.0, 0.0], Some(&letters), 10).await.unwrap().len(), 2, "replaced, not added");

    assert!(matches!(qdrant.search(&name, &[1.0], None, 10).await, Err(Error::Refused(_))), "a vector of another size");
    let nonsense = json!({"must": [{"key": "kind", "resembles": "letter"}]});
    assert!(matches!(qdrant.search(&name, &[1.0, 0.0, 0.0], Some(&nonsense), 10).await, Err(Error::Refused(_))));

    qdrant.delete_points(&name, &[number, PointId::Number(77)]).await.unwrap();
    assert_eq!(ids(&qdrant.search(&name, &[1.0, 0.0, 0.0], None, 10).await.unwrap()), [unique, PointId::Number(0)]);
    assert!(qdrant.delete_collection(&name).await.unwrap());
    assert!(!qdrant.delete_collection(&name).await.unwrap());
    assert!(matches!(qdrant.upsert(&name, &points).await, Err(Error::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_matches_qdrants_openapi_models_and_its_stub() {
    scenario(&stub().await).await;
}

/// Without a server, the test prints SKIPPED.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_qdrant_passes_the_same_scenario_if_one_is_given() {
    let variable = |name: &str| std::env::var_os(name).map(|value| value.into_string().unwrap()).filter(|value| !value.is_empty());
    let Some(url) = variable("QDRANT_TEST_URL") else {
        // Written to stderr directly, because the harness hides the output of passing tests.
        writeln!(std::io::stderr(), "SKIPPED: QDRANT_TEST_URL is not set").unwrap();
        return;
    };
    scenario(&Qdrant::new(&url, variable("QDRANT_TEST_API_KEY").map(Secret::new).as_ref()).unwrap()).await;
}

/// Otherwise the test above would accept any request.
#[tokio::test(flavor = "multi_thread")]
async fn the_stub_rejects_requests_that_do_not_match_the_models() {
    let base = &qdrant().await.base;
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let ask = async |method: &str, path: &str, body: Option<Value>| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = http.request(method, format!("{base}{path}")).header("api-key", QDRANT_KEY);
        let request =
            body.map_or(request.try_clone().unwrap(), |body| request.header("content-type", "application/json").body(body.to_string()));
        request.send().await.unwrap().status().as_u16()
    };
    let vectors = json!({"size": 3, "distance": "Dot"});
    for (method, path, body, status) in [
        ("PUT", "/collections/well-asked", Some(json!({"vectors": vectors})), 200),
        ("PUT", "/collections/a", Some(json!({"vectors": vectors, "vektors": 1})), 400),
        ("PUT", "/collections/a", Some(json!({"vectors": {"size": "3", "distance": "Dot"}})), 400),
        ("PUT", "/collections/a", Some(json!({"vectors": {"size": 3, "distance": "dot"}})), 400),
        ("PUT", "/collections/a", None, 400),
        ("POST", "/collections/a", Some(json!({"vectors": vectors})), 404),
        ("GET", "/collections?wait=true", None, 400),
        ("GET", "/collections/", None, 404),
        ("PUT", "/collections/well-asked/points?wait=perhaps", Some(json!({"points": []})), 400),
        ("PUT", "/collections/well-asked/points", Some(json!({"points": [{"id": 1.5, "vector": [1.0, 1.0, 1.0]}]})), 400),
        ("POST", "/collections/well-asked/points/query", Some(json!({"vector": [1.0, 1.0, 1.0], "limit": 1})), 400),
    ] {
        assert_eq!(ask(method, path, body.clone()).await, status, "{method} {path} {body:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_only_the_probes_are_answered() {
    let base = &qdrant().await.base;
    for key in [None, Some(Secret::new("another"))] {
        let qdrant = Qdrant::new(base, key.as_ref()).unwrap();
        qdrant.ready().await.unwrap();
        qdrant.version().await.unwrap();
        assert_eq!(qdrant.collections().await, Err(Error::Auth));
        assert_eq!(qdrant.upsert("c", &[point(PointId::Number(1), [1.0; 3], json!({}))]).await, Err(Error::Auth));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_any_letters_is_one_name() {
    let qdrant = stub().await;
    let name = format!("a/b ?#%2F é.. {}", new_name());
    qdrant.create_collection(&name, 2, Distance::Manhattan).await.unwrap();
    assert!(qdrant.collections().await.unwrap().contains(&name));
    assert_eq!(qdrant.collection(&name).await.unwrap().vectors[0].distance, Distance::Manhattan);
    assert!(qdrant.delete_collection(&name).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_where_there_is_nothing_to_do_or_no_number_to_send() {
    let stub = HttpStub::always(Reply::Json(500, json!({})));
    let qdrant = Qdrant::new(&stub.base, None).unwrap();
    qdrant.upsert("c", &[]).await.unwrap();
    qdrant.delete_points("c", &[]).await.unwrap();
    for number in [f32::NAN, f32::INFINITY] {
        assert!(matches!(qdrant.upsert("c", &[point(PointId::Number(1), [0.0, number, 0.0], json!({}))]).await, Err(Error::Refused(_))));
        assert!(matches!(qdrant.search("c", &[number], None, 1).await, Err(Error::Refused(_))));
    }
    assert!(stub.received().is_empty());
}

/// States that the stand-in is never in, in the shapes of Qdrant's documentation.
#[tokio::test(flavor = "multi_thread")]
async fn states_of_a_server_that_is_not_at_its_best_are_understood() {
    let about = |status: &str, optimizer: Value, vectors: Value| {
        let counts = json!({"vectors_count": null, "indexed_vectors_count": 20_000, "points_count": null, "segments_count": 8});
        let mut result = json!({"status": status, "optimizer_status": optimizer, "payload_schema": {}});
        result["config"] = json!({"params": {"vectors": vectors, "shard_number": 1}, "quantization_config": null});
        result.as_object_mut().unwrap().extend(counts.as_object().unwrap().clone());
        Reply::Json(200, json!({"result": result, "status": "ok", "time": 0.000_2}))
    };
    let ask = async |reply: Reply| Qdrant::new(&HttpStub::always(reply).base, None).unwrap().collection("c").await;
    let failed = json!({"error": "Service internal error: no space left on device"});
    let red = ask(about("red", failed, json!({"text": {"size": 4, "distance": "Euclid"}}))).await.unwrap();
    assert_eq!((red.status, red.points, red.indexed_vectors, red.segments), (Status::Red, None, Some(20_000), 8));
    assert_eq!(red.optimizer_error.as_deref(), Some("Service internal error: no space left on device"));
    assert_eq!(red.vectors, [Vectors { name: "text".into(), size: 4, distance: Distance::Euclid }]);
    for (told, status) in [("yellow", Status::Yellow), ("grey", Status::Grey)] {
        let collection = ask(about(told, json!("ok"), json!({}))).await.unwrap();
        assert_eq!((collection.status, collection.vectors, collection.optimizer_error), (status, Vec::new(), None));
    }
    assert_eq!(ask(about("mauve", json!("ok"), json!({}))).await.unwrap_err().class(), ErrorClass::Protocol);

    let starting = HttpStub::always(Reply::page(503, "content-type: text/plain\r\n", "some shards are not ready"));
    let qdrant = Qdrant::new(&starting.base, None).unwrap();
    assert_eq!(qdrant.ready().await, Err(Error::NotReady("some shards are not ready".into())));

    let late =
        HttpStub::always(Reply::Json(200, json!({"result": {"operation_id": 3, "status": "acknowledged"}, "status": "ok", "time": 0.1})));
    let qdrant = Qdrant::new(&late.base, None).unwrap();
    assert!(matches!(qdrant.delete_points("c", &[PointId::Number(1)]).await, Err(Error::NotReady(_))));
    assert_eq!(late.received()[0].path, "/collections/c/points/delete?wait=true");

    let bare = json!({"result": {"points": [{"id": 3, "version": 1, "score": 0.5, "payload": null}, {"id": 4, "version": 1, "score": 0}]}});
    let found = Qdrant::new(&HttpStub::always(Reply::Json(200, bare)).base, None).unwrap().search("c", &[1.0], None, 2).await.unwrap();
    assert_eq!((found.len(), &found[0].payload), (2, &Map::new()));
}
