// Starts GraphiQL on the endpoint that this page came from.
"use strict";

const examples = `# What can be exported?
query Tables {
  exportTables {
    name
    onDemand
    scheduled
    timeColumn
  }
}

# Start an export of some time that has passed, at most one day. The answer is the request's id.
mutation Start($start: Int!, $end: Int!) {
  requestData(startTime: $start, endTime: $end)
}

# Where is it? The links come with the end.
query Latest {
  requests(first: 1) {
    edges {
      node {
        requestId
        status
        progress
        tables {
          name
          status
          progress
          rows
          error {
            code
            message
          }
        }
        dataRequestDownloadLinks
        linksExpireAt
      }
    }
  }
}
`;

const now = Math.floor(Date.now() / 1000);
const variables = JSON.stringify({ start: now - 86400, end: now - 82800 }, null, 2);

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: window.location.pathname }),
    defaultTabs: [{ query: examples, variables }],
    defaultEditorToolsVisibility: true,
    shouldPersistHeaders: false,
  }),
);
