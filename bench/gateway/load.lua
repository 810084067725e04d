-- wrk's load: members drawn at random, each with its token and one of ten endpoints. Requests are formatted once, so
-- that the load stays cheap. TOKENS names a file with a token a line.
local requests = {}

function init(args)
  math.randomseed(tonumber(tostring({}):match("0x(%x+)"), 16) % 2147483647)
  for token in io.lines(os.getenv("TOKENS")) do
    local headers = { ["Authorization"] = "Bearer " .. token, ["Host"] = "api.local" }
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
