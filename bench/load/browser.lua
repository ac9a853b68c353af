-- wrk sends what a browser sends, and ends with one line of JSON for bench/load/plan.py.
-- Arguments: close or keep; bytes of body, 0 for a GET; varied or same.
local session = "0123456789abcdef0123456789abcdef"
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
wrk.headers["Accept-Language"] = "en-GB,en;q=0.7,de;q=0.3"
wrk.headers["Accept-Encoding"] = "gzip, deflate, br, zstd"
wrk.headers["Cookie"] = "session=" .. session .. "; theme=dark"
wrk.headers["Upgrade-Insecure-Requests"] = "1"
wrk.headers["Sec-Fetch-Dest"] = "document"
wrk.headers["Sec-Fetch-Mode"] = "navigate"
wrk.headers["Sec-Fetch-Site"] = "none"
wrk.headers["Sec-Fetch-User"] = "?1"
wrk.headers["Priority"] = "u=0, i"

function init(args)
  if args[1] == "close" then wrk.headers["Connection"] = "close" end
  if args[2] ~= "0" then wrk.method = "POST"; wrk.body = string.rep("x", tonumber(args[2])) end
  if args[3] == "varied" then
    local text = wrk.format()
    local from, to = text:find(session, 1, true)
    local head, tail = text:sub(1, from - 1), text:sub(to + 1)
    local count = (os.time() % 1e6) * 1e9 + number * 1e7  -- runs and threads begin far apart
    request = function()
      count = count + 1
      return head .. string.format("%032.0f", count) .. tail
    end
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "bytes": %d, "refused": %d, "failed": %d, "p50": %.6f, "p99": %.6f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, e.status,
    e.connect + e.read + e.write + e.timeout, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
