# syntax=docker/dockerfile:1
# One binary that contains everything it serves. The dependencies are built in a separate layer, which is rebuilt only when
# Cargo.lock changes.
FROM rust:1.90-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/transfers benches/cache \
    && echo 'fn main() {}' | tee src/main.rs benches/transfers/main.rs > benches/cache/main.rs \
    && touch src/lib.rs \
    && cargo build --locked --release \
    && rm -rf src
COPY . .
# The copied files are older than the build output of their placeholders.
RUN touch src/main.rs src/lib.rs && cargo build --locked --release --bin larder && strip target/release/larder

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/release/larder /larder
ENV BIND=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["/larder", "doctor", "--ready"]
ENTRYPOINT ["/larder"]
