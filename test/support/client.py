"""A client of the service by one of Python's libraries. Says each answer's status, a line each, as test/gateway/libraries.test.ts asks."""
import base64
import json
import sys

library, url, png = sys.argv[1:]
data = base64.b64decode(png)
if library == "requests":
    import requests

    session = requests.Session()
else:
    import httpx

    session = httpx.Client(timeout=60)
session.headers["Content-Type"] = "application/json"


def call(method, path, **more):
    return session.request(method, url + path, **more)


uploaded = call("POST", "/v1/uploads", data=data, headers={"Content-Type": "image/png"}) if library == "requests" else call(
    "POST", "/v1/uploads", content=data, headers={"Content-Type": "image/png"}
)
control = {"controlnet": "canny", "image": "upload:" + uploaded.json()["id"], "mask": None}
request = {"prompt": "x", "num_inference_steps": 1, "controls": [control], "seed": None}
made = call("POST", "/v1/generations", json=request, headers={"Prefer": "wait"})
picture = call("GET", made.json()["images"][0]["url"].replace(url, ""))
waiting = call("POST", "/v1/generations", json={"prompt": "x", "num_inference_steps": 100})
canceled = call("POST", "/v1/generations/" + waiting.json()["id"] + "/cancel")
deleted = call("DELETE", "/v1/generations/" + made.json()["id"])
rotated = call("POST", "/v1/webhooks/secret/rotate")
refused = call("POST", "/v1/generations", json={"prompt": "x", "steps": 1})
answers = [uploaded, made, picture, waiting, canceled, deleted, rotated, refused]
print(json.dumps({"statuses": [answer.status_code for answer in answers], "bytes": len(picture.content)}))
