DROP TABLE setup_tokens;
DROP TABLE sign_in_failures;
DROP TABLE sessions;
