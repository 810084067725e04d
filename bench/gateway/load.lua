-- wrk's load: members drawn at random, each with its token and one of ten endpoints. Requests are formatted once, so
-- that the load stays cheap. TOKENS names a file with a token a line; with
-- PADDING, a header of as many bytes is added.
local requests = {}
local padding = tonumber(os.getenv("PADDING") or 0)

function init(args)
  math.randomseed(tonumber(tostring({}):match("0x(%x+)"), 16) % 2147483647)
  for token in io.lines(os.getenv("TOKENS")) do
    local headers = { ["Authorization"] = "Bearer " .. token, ["Host"] = "api.local" }
    if padding > 0 then headers["X-Pad"] = ("x"):rep(padding - #"X-Pad: \r\n") end
    requests[#requests + 1] = wrk.format("GET", "/v1/ep" .. (#requests % 10), headers)
  end
end

function request() return requests[math.random(#requests)] end

function done(summary, latency, rates)
  local e = summary.errors
  io.write(string.format('JSON {"Requests":%d,"Microseconds":%d,"P50":%d,"P99":%d,"Failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status + e.connect + e.read + e.write + e.timeout))
end
