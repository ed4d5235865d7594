"""An application for uvicorn.

    underpass run -i eth0 -- uvicorn fastapi_app:app --host 0.0.0.0 --port 8000
"""

import fastapi

app = fastapi.FastAPI()


@app.get("/")
async def hello():
    return {"hello": "from user space"}
