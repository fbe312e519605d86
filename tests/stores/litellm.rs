//! LiteLLM: a real proxy, with the shipped configuration and models that need no provider.

use larder::config::Secret;
use larder::stores::litellm::{Error, LiteLlm, Message, Role};
use serde_json::{Value, json};

use crate::support::{HttpStub, LiteLlmServer, Reply};

async fn litellm() -> LiteLlm {
    LiteLlm::new(&LiteLlmServer::shared().await.base, Some(&Secret::new(LiteLlmServer::KEY))).unwrap()
}

fn hello() -> Vec<Message> {
    let message = |role, content: &str| Message { role, content: content.into() };
    vec![message(Role::System, "Be brief."), message(Role::User, "Hello? \"Grüße\"\n"), message(Role::Assistant, "Yes?")]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_configuration_starts_and_lists_its_models() {
    let litellm = litellm().await;
    litellm.ready().await.unwrap();
    let version = litellm.version().await.unwrap().unwrap();
    assert!(version.starts_with("1."), "{version}");
    let models = litellm.models().await.unwrap();
    let shipped = ["chat", "chat-fallback", "embedding"];
    assert!(shipped.iter().chain(&["chat-mock"]).all(|alias| models.iter().any(|model| model == alias)), "{models:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_contains_text_and_usage() {
    let completion = litellm().await.complete("chat-mock", &hello()).await.unwrap();
    assert_eq!(completion.text, LiteLlmServer::SAYS);
    assert_eq!((completion.model.as_str(), completion.cut), ("chat-mock", false));
    let usage = completion.usage.unwrap();
    assert!(usage.prompt > 0 && usage.completion > 0 && usage.total == usage.prompt + usage.completion, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_in_the_order_of_the_inputs() {
    let inputs = ["one", "two", "Grüße"].map(str::to_owned);
    let vectors = litellm().await.embed("embedding-real", &inputs).await.unwrap();
    assert_eq!(vectors, [[0.0, -1.25, 0.1], [1.0, -1.25, 0.1], [2.0, -1.25, 0.1]]);
    let asked = LiteLlmServer::shared().await.provider.received();
    let embedding = asked.iter().find(|one| one.path == "/v1/embeddings").unwrap();
    assert_eq!(embedding.json()["input"], json!(inputs));
    let key = embedding.header("authorization").unwrap();
    assert!(!key.contains(LiteLlmServer::KEY), "the provider receives its own key");
}

/// LiteLLM's mock of embeddings returns the text of a list.
#[tokio::test(flavor = "multi_thread")]
async fn an_embedding_without_a_vector_is_a_protocol_error() {
    let error = litellm().await.embed("embedding-mock", &["one".into()]).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_missing_key_is_rejected() {
    let base = &LiteLlmServer::shared().await.base;
    for key in [None, Some(Secret::new("sk-of-somebody-else")), Some(Secret::new("no key at all"))] {
        let litellm = LiteLlm::new(base, key.as_ref()).unwrap();
        litellm.ready().await.unwrap();
        assert_eq!(litellm.models().await, Err(Error::Auth), "{key:?}");
        assert_eq!(litellm.complete("chat-mock", &hello()).await, Err(Error::Auth));
        assert_eq!(litellm.embed("embedding-real", &["one".into()]).await, Err(Error::Auth));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_model_is_reported_as_such() {
    let litellm = litellm().await;
    assert_eq!(litellm.complete("nobody-knows-me", &hello()).await, Err(Error::NoSuchModel));
    assert_eq!(litellm.embed("nobody-knows-me", &["one".into()]).await, Err(Error::NoSuchModel));
    assert_eq!(litellm.complete("broken-404", &hello()).await, Err(Error::NoSuchModel), "LiteLLM knows it, the provider does not");
}

/// LiteLLM's rejection of our key has the same status as the provider's rejection of LiteLLM's key.
#[tokio::test(flavor = "multi_thread")]
async fn a_providers_rejection_is_not_attributed_to_our_key() {
    let litellm = litellm().await;
    for status in [401, 500, 503] {
        let error = litellm.complete(&format!("broken-{status}"), &hello()).await.unwrap_err();
        assert!(matches!(&error, Error::Upstream(why) if why.contains("The provider is unwell")), "{status}: {error:?}");
    }
    assert!(matches!(litellm.complete("broken-400", &hello()).await, Err(Error::Refused(why)) if why.contains("unwell")));
    assert!(matches!(litellm.complete("broken-429", &hello()).await, Err(Error::Busy { .. })));
}

/// Responses of other versions of LiteLLM, or of one with a database.
#[tokio::test(flavor = "multi_thread")]
async fn responses_of_other_versions_are_understood() {
    let ask =
        async |reply: Reply| LiteLlm::new(&HttpStub::always(reply).base, Some(&Secret::new("k"))).unwrap().models().await.unwrap_err();
    let said = |message: &str, kind: &str| json!({"error": {"message": message, "type": kind, "param": "None", "code": "x"}});
    assert_eq!(ask(Reply::Json(500, said("Authentication Error, No api key passed in.", "auth_error"))).await, Error::Auth);
    assert_eq!(ask(Reply::Json(500, said("Authentication Error, Invalid proxy server token passed", "None"))).await, Error::Auth);
    assert_eq!(ask(Reply::Json(400, said("No connected db.", "no_db_connection"))).await, Error::Auth);
    assert_eq!(ask(Reply::page(500, "", "Internal Server Error")).await, Error::Failed("no reason given".into()));
    assert_eq!(ask(Reply::Json(408, said("litellm.Timeout: APITimeoutError - Request timed out.", "None"))).await, Error::Timeout);
    assert_eq!(ask(Reply::Json(404, json!({"detail": "Not Found"}))).await, Error::NotFound("Not Found".into()));

    // The text hidden from users, a host name or a key, may also be part of the message.
    let stub = HttpStub::always(Reply::Json(401, said("litellm.AuthenticationError: no", "None")));
    let litellm = LiteLlm::new(&stub.base, Some(&Secret::new("litellm"))).unwrap();
    assert_eq!(litellm.models().await, Err(Error::Upstream("….AuthenticationError: no".into())));

    let told = HttpStub::always(Reply::Json(200, json!({"status": "connected", "db": "connected", "litellm_version": "1.55.10"})));
    let litellm = LiteLlm::new(&told.base, None).unwrap();
    assert_eq!(litellm.ready().await.unwrap().as_deref(), Some("1.55.10"));
    let ill = HttpStub::always(Reply::Json(200, json!({"status": "unhealthy"})));
    assert!(matches!(LiteLlm::new(&ill.base, None).unwrap().ready().await, Err(Error::NotReady(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_responses_are_rejected() {
    let vector = |index: usize, embedding: Value| json!({"index": index, "embedding": embedding});
    for data in [
        json!([]),
        json!([vector(0, json!([1.0]))]),
        json!([vector(0, json!([1.0])), vector(0, json!([1.0]))]),
        json!([vector(0, json!([1.0])), vector(1, json!([1.0, 2.0]))]),
        json!([vector(0, json!([])), vector(1, json!([]))]),
        json!([vector(0, json!([1.0])), vector(1, json!([1e300]))]),
        json!([vector(0, json!([1.0])), vector(1, json!([null]))]),
        json!([vector(0, json!([1.0])), vector(1, json!("AACAPw=="))]),
    ] {
        let stub = HttpStub::always(Reply::Json(200, json!({"data": data})));
        let error = LiteLlm::new(&stub.base, None).unwrap().embed("m", &["a".into(), "b".into()]).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error:?} for {data}");
    }
    let complete = async |choices: Value| {
        let stub = HttpStub::always(Reply::Json(200, json!({"model": "m", "choices": choices})));
        LiteLlm::new(&stub.base, None).unwrap().complete("m", &hello()).await
    };
    for choices in [json!([]), json!([{"message": {"content": null}, "finish_reason": "tool_calls"}]), json!([{"text": "old"}])] {
        assert!(matches!(complete(choices.clone()).await, Err(Error::Protocol(_))), "{choices}");
    }
    let cut = complete(json!([{"message": {"content": "So it"}, "finish_reason": "length"}])).await.unwrap();
    assert_eq!((cut.text.as_str(), cut.cut, cut.usage), ("So it", true, None));
}
