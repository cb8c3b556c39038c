"""The application's tests: no model, no container, no AWS account."""

import pytest
from botocore.exceptions import ClientError
from prices import NoPriceYet, price

pytestmark = [pytest.mark.localmme(stub="stub.yaml"), pytest.mark.usefixtures("localmme_environment")]


def test_a_price_is_that_of_the_citys_model(localmme):
    assert price("europe/lisbon", rooms=3) == 350000
    [call] = localmme.calls(endpoint="prices")
    assert (call.target_model, call.json()) == ("europe/lisbon.tar.gz", {"rooms": 3})
    assert call.headers["Content-Type"] == "application/json"


def test_a_city_without_a_model_has_no_price():
    with pytest.raises(LookupError, match="no prices for mars/olympus"):
        price("mars/olympus", rooms=3)


@pytest.mark.localmme_fault("ThrottlingException", times=1)
def test_a_call_too_many_is_tried_again(localmme):
    assert price("europe/berlin", rooms=2) == 100000
    assert [call.error_code for call in localmme.calls()] == ["ThrottlingException", ""]


@pytest.mark.localmme_fault("ModelNotReadyException", model="europe/*")
def test_a_model_that_is_still_loading_is_no_error_of_the_user():
    with pytest.raises(NoPriceYet):
        price("europe/lisbon", rooms=3)


@pytest.mark.localmme_fault("ModelError", status=500, message="out of memory")
def test_a_model_that_fails_is_seen():
    with pytest.raises(ClientError, match="out of memory"):
        price("europe/lisbon", rooms=3)
