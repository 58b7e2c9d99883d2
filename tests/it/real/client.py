"""A client of Envoy's rate limit service, Gubernator and gRPC's health service, all made from .proto
files; its arguments are the nodes. It asks one node after the other: the counts are the same on each."""

import itertools
import sys
import time

import grpc

import envoy_pb2 as envoy
import envoy_pb2_grpc
import gubernator_pb2 as gubernator
import gubernator_pb2_grpc
import health_pb2 as health
import health_pb2_grpc

# A busy machine may stand still for a while.
PATIENCE_S = 60

channels = [grpc.insecure_channel(address) for address in sys.argv[1:]]
turns = itertools.cycle(channels)


def same(found, expected, what):
    if found != expected:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")


def refused(call, request, expected):
    try:
        answer = call(request, timeout=PATIENCE_S)
    except grpc.RpcError as error:
        same(error.code(), expected, error.details())
    else:
        sys.exit(f"expected {expected}, found {answer}")


def descriptor(entries, **more):
    entries = [envoy.Entry(key=key, value=value) for key, value in entries]
    return envoy.Descriptor(entries=entries, **more)


def should(descriptors, domain="edge", hits=0):
    """Asks the next node."""
    service = envoy_pb2_grpc.RateLimitServiceStub(next(turns))
    request = envoy.RateLimitRequest(domain=domain, descriptors=descriptors, hits_addend=hits)
    return service.ShouldRateLimit(request, timeout=PATIENCE_S)


def ask_as_envoy():
    few = descriptor([("remote_address", "192.0.2.1")])
    for left in (2, 1, 0):
        answer = should([few])
        same(answer.overall_code, envoy.OK, "within the limit")
        status = answer.statuses[0]
        same(status.code, envoy.OK, "the descriptor's code")
        same(status.limit_remaining, left, "what is left")
        same(status.current_limit.requests_per_unit, 3, "the limit")
        same(status.current_limit.unit, envoy.HOUR, "its unit")
        same(status.current_limit.name, "few", "its name")
        same(3600 <= status.duration_until_reset.seconds <= 3700, True, "when it is empty")
        told = {header.key.lower(): header.value for header in answer.response_headers_to_add}
        same(told["x-ratelimit-limit"], "3", "the header of the limit")
        same(told["x-ratelimit-remaining"], str(left), "the header of what is left")
    for _ in channels:
        same(should([few]).overall_code, envoy.OVER_LIMIT, "above the limit, wherever it is asked")
    # All or nothing, and what is given back may be taken again.
    other = descriptor([("remote_address", "192.0.2.2")])
    same(should([other, few]).overall_code, envoy.OVER_LIMIT, "one of two is above its limit")
    same(should([other], hits=3).overall_code, envoy.OK, "and nothing was counted for the other")
    back = descriptor([("remote_address", "192.0.2.2")], is_negative_hits=True)
    same(should([back], hits=2).overall_code, envoy.OK, "giving back")
    same(should([other], hits=2).overall_code, envoy.OK, "and taking again")
    same(should([other]).overall_code, envoy.OVER_LIMIT, "but no more than that")
    # No rule, no domain: it passes.
    same(should([descriptor([("path", "/")])]).overall_code, envoy.OK, "no rule")
    same(should([few], domain="none").overall_code, envoy.OK, "no such domain")
    same(should([descriptor([("blocked", "x")])]).overall_code, envoy.OVER_LIMIT, "blocked")
    # A limit of its own.
    own = envoy.Override(requests_per_unit=1, unit=envoy.HOUR)
    own = descriptor([("remote_address", "192.0.2.3")], limit=own)
    same([should([own]).overall_code for _ in range(2)], [envoy.OK, envoy.OVER_LIMIT], "an own limit")
    service = envoy_pb2_grpc.RateLimitServiceStub(next(turns))
    nothing = envoy.RateLimitRequest(domain="edge")
    refused(service.ShouldRateLimit, nothing, grpc.StatusCode.INVALID_ARGUMENT)
    nameless = envoy.RateLimitRequest(descriptors=[few])
    refused(service.ShouldRateLimit, nameless, grpc.StatusCode.INVALID_ARGUMENT)


def limits(*items):
    """Asks the next node for all items at once."""
    service = gubernator_pb2_grpc.V1Stub(next(turns))
    requests = [gubernator.RateLimitReq(**item) for item in items]
    request = gubernator.GetRateLimitsReq(requests=requests)
    return service.GetRateLimits(request, timeout=PATIENCE_S).responses


def ask_as_gubernator():
    item = {"name": "account", "unique_key": "a:1", "hits": 1, "limit": 3, "duration": 3_600_000}
    for algorithm in (gubernator.TOKEN_BUCKET, gubernator.LEAKY_BUCKET):
        one = item | {"unique_key": f"a:{algorithm}", "algorithm": algorithm}
        for left in (2, 1, 0):
            (answer,) = limits(one)
            same(answer.error, "", "no error")
            same(answer.status, gubernator.UNDER_LIMIT, "within the limit")
            same((answer.limit, answer.remaining), (3, left), "limit and what is left")
            away_ms = answer.reset_time - time.time() * 1000
            same(3_500_000 < away_ms < 3_700_000, True, "when it is empty")
        for _ in channels:
            (answer,) = limits(one)
            same(answer.status, gubernator.OVER_LIMIT, "above the limit, wherever it is asked")
        (answer,) = limits(one | {"hits": 0})
        same((answer.status, answer.remaining), (gubernator.OVER_LIMIT, 0), "a look")
        limits(one | {"hits": -1})
        same(limits(one | {"hits": 0})[0].remaining, 1, "after one is given back")
        (answer,) = limits(one | {"hits": 2, "behavior": gubernator.DRAIN_OVER_LIMIT})
        same(answer.status, gubernator.OVER_LIMIT, "more than is left")
        same(limits(one | {"hits": 0})[0].remaining, 0, "which is drained")
        limits(one | {"behavior": gubernator.RESET_REMAINING})
        same(limits(one | {"hits": 0})[0].remaining, 3, "after all is forgotten")
    answers = limits(
        item | {"unique_key": ""},
        item | {"name": ""},
        item | {"behavior": gubernator.GLOBAL},
        item | {"unique_key": "batch"},
    )
    same(answers[0].error, "field 'unique_key' cannot be empty", "no key")
    same(answers[1].error, "field 'namespace' cannot be empty", "no name")
    same("GLOBAL" in answers[2].error, True, "what is not carried over")
    same((answers[3].error, answers[3].remaining), ("", 2), "beside them")
    service = gubernator_pb2_grpc.V1Stub(next(turns))
    many = gubernator.GetRateLimitsReq(requests=[gubernator.RateLimitReq(**item)] * 1001)
    refused(service.GetRateLimits, many, grpc.StatusCode.OUT_OF_RANGE)
    for channel in channels:
        answer = gubernator_pb2_grpc.V1Stub(channel).HealthCheck(
            gubernator.HealthCheckReq(), timeout=PATIENCE_S
        )
        same((answer.status, answer.peer_count), ("healthy", 1), "Gubernator's health")


def ask_for_health():
    for channel in channels:
        service = health_pb2_grpc.HealthStub(channel)
        for name in ("", "envoy.service.ratelimit.v3.RateLimitService", "pb.gubernator.V1"):
            request = health.HealthCheckRequest(service=name)
            answer = service.Check(request, timeout=PATIENCE_S)
            same(answer.status, health.HealthCheckResponse.SERVING, f"the health of `{name}`")
        refused(service.Check, health.HealthCheckRequest(service="no"), grpc.StatusCode.NOT_FOUND)


ask_as_envoy()
ask_as_gubernator()
ask_for_health()
print("all is as expected")
